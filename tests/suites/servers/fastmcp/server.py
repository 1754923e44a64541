"""A stateful server made with FastMCP: one tool names the token that it got, one counts the calls of its MCP session.

    python server.py PORT
"""

import base64
import json
import sys

from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import get_http_headers

server = FastMCP("Tokens")


def claims(token):
    """The claims of a token, unverified: this server shows what it got and trusts nothing."""
    if not token:
        return None
    body = token.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return {name: found.get(name) for name in ("aud", "oid")}


@server.tool
def tokens(bearerToken: str = "") -> dict:
    """Names the audience and the user of the tokens in the header and in the argument."""
    header = get_http_headers(include_all=True).get("authorization", "")
    return {"header": claims(header.removeprefix("Bearer ")), "argument": claims(bearerToken)}


@server.tool
async def count(context: Context) -> int:
    """Counts the calls of this tool in this MCP session."""
    calls = (await context.get_state("calls") or 0) + 1
    await context.set_state("calls", calls)
    return calls


server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), path="/mcp", show_banner=False)
