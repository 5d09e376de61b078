"""Signing in through an organisation's own service (OpenID Connect Core 1.0).

    web: to the service, with state, nonce and PKCE ─▶ the browser brings a code back, which is
      sealed at once ─▶ a worker redeems it and checks the token ─▶ web: links or signs in

The web process holds no client secret and reaches no foreign address (ADR 0043). A session that is
opened so is limited to the organisation whose service it was: another's service, that says the same
of a person who works for both, opens nothing here.
"""
