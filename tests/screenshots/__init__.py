"""Every page of the console as a picture, to be looked at: `make screenshots`."""
