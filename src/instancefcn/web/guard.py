"""What the server refuses before it looks at a request, and what every answer says to the browser."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts and styles from the server's own files alone, no frames, no forms, nothing from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware: checks Host and Origin, and adds the headers above.

    A page elsewhere may let its own name lead to 127.0.0.1 (DNS rebinding) and would then count as the same origin; so
    Host has to be an address, "localhost", or ``host``, which no page elsewhere is called. And a page elsewhere may
    post to any address, but the browser names it in Origin; so what changes anything needs an Origin that is ours.

    Args:
        app: what to guard.
        host: a name under which the server was asked to listen.
    """

    def __init__(self, app: ASGIApp, host: str = "localhost") -> None:
        self.app, self.names = app, {"localhost", host.casefold()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        refusal = self.refusal(scope)
        answer = self.app if refusal is None else PlainTextResponse(refusal, 403)
        await answer(scope, receive, send_with_headers)

    def refusal(self, scope: Scope) -> str | None:
        """Why a request is refused; None where it is not."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return "This server answers under its address or localhost alone: open the address that it printed."
        ours = [f"{scope.get('scheme', 'http')}://{hosts[0]}"]
        if scope["method"] not in ("GET", "HEAD") and headers.getlist("origin") != ours:
            return "This request comes from another page: open the address that the server printed."
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").casefold()
            if name not in self.names:
                ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
