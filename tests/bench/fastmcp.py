"""An MCP server made with FastMCP that checks a JWT at each call: what a user would pick without a proxy.

    python fastmcp.py PORT FILE

Writes a token that it accepts to FILE. Its tool answers with the 1 KiB that it got.
"""

import pathlib
import sys

from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import JWTVerifier, RSAKeyPair

AUDIENCE = "api://bench"
ISSUER = "https://issuer.example"

keys = RSAKeyPair.generate()
verifier = JWTVerifier(public_key=keys.public_key, issuer=ISSUER, audience=AUDIENCE)
server = FastMCP("Bench", auth=verifier)


@server.tool(name="list", output_schema=None)
async def list_tool(text: str) -> str:
    """Returns the text."""
    return text


pathlib.Path(sys.argv[2]).write_text(keys.create_token(issuer=ISSUER, audience=AUDIENCE))
server.run(
    transport="http",
    host="127.0.0.1",
    port=int(sys.argv[1]),
    path="/mcp",
    stateless_http=True,
    json_response=True,
    log_level="error",
    show_banner=False,
    # uvicorn closes connections that are idle for 5 s, and the bench opens all of its connections first.
    uvicorn_config={"access_log": False, "timeout_keep_alive": 600},
)
