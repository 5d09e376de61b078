"""Directories: an organisation's own list of people, which makes and ends their roles here (SCIM).

What must stay true: a directory sees and changes the people of its own tenant and nothing else of
them: no address by which an account signs in, no password, no role elsewhere; who is taken out of
it can do nothing here from that moment; the last admin of a tenant stays.
"""
