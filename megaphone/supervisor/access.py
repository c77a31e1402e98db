"""Who may do what on the admin address: numbers are for everybody who reaches it, the rest for who shows the token.

The token stands in `Authorization: Bearer`, never in a URL or a cookie: no other page can make a browser send it.
"""

import enum
import hmac
from typing import Final

from megaphone.config.admin_token import read_admin_token
from megaphone.log import get_logger
from megaphone.supervisor.http import Request, Response, error_response

_log = get_logger("admin")
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="megaphone"'}


class Access(enum.Enum):
    """Whom a path of the admin address is for; the control socket, which only its owner may use, serves all."""

    OPEN = "everybody"
    OPERATORS = "who shows the token"
    SOCKET = "nobody: only on the control socket"


def refusal(request: Request, access: Access, token_file: str) -> Response | None:
    """The answer to a request on the admin address that may not be; None if it may.

    `token_file` is read each time, so that another token holds at once; "": there is none.
    """
    if access is Access.OPEN:
        return None
    if access is Access.SOCKET:
        return error_response(403, f"{request.path} is served on the control socket only")
    if not token_file:
        reason = f"{request.path} is served on the control socket only, as admin.token_file is not set"
        return error_response(403, reason)
    if request.bearer is None:
        return error_response(401, f"{request.path} needs the token of operators: Authorization: Bearer", _CHALLENGE)
    try:
        token = read_admin_token(token_file)
    except ValueError as error:
        _log.error("the token of operators cannot be used", file=token_file, reason=str(error))
        return error_response(403, "the token of operators cannot be used, see the log")
    if not hmac.compare_digest(request.bearer, token):
        return error_response(401, "this is not the token of operators", _CHALLENGE)
    return None
