"""Who may come in: the token endpoint, and the gates of each request: token, quota, scope."""

from starlette.requests import Request
from starlette.responses import Response

from sandbox.sheets.accounts import Token, TokenRefusedError
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.project import Google
from sandbox.standin import answer


async def give_token(google: Google, request: Request) -> Response:
    """The JWT bearer grant."""
    form = {name: str(value) for name, value in (await request.form()).items()}
    try:
        return answer(google.accounts.grant(form, google.token_uri))
    except TokenRefusedError as refusal:
        return answer({"error": refusal.error, "error_description": refusal.description}, 400)


def enter(google: Google, request: Request, *, scopes: set[str], quota: str | None) -> Token:
    """Return the request's token, counted against `quota`; raises SheetsError (401, 429, 403) in this order."""
    token = google.accounts.holder(request.headers.get("authorization"))
    if token is None:
        given = "authorization" in request.headers
        text = (
            "Request had invalid authentication credentials."
            if given
            else "Request is missing required authentication credential."
        )
        raise SheetsError(
            f"{text} Expected OAuth 2 access token, login cookie or other valid authentication credential. "
            "See https://developers.google.com/identity/sign-in/web/devconsole-project.",
            401,
            "UNAUTHENTICATED",
        )
    if quota:
        google.quotas.count(quota, token.email)
    if not token.scopes & scopes:
        raise SheetsError("Request had insufficient authentication scopes.", 403, "PERMISSION_DENIED")
    return token
