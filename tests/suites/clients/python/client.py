"""A client on the Python SDK: signs in with the SDK's own OAuth support, lists the tools, calls some.

    python client.py legacy|modern URL SIGN_INS CALLS

CALLS is JSON, a list of [tool, arguments]. Each sign-in is a new client that registers, and knows nothing of the
earlier ones. The program writes one JSON object per line: {"authorize": URL} when the user's browser is wanted,
then it reads the address to which the browser is sent back; {"session": {...}} after each sign-in.
"""

import asyncio
import json
import ssl
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

MODES = {"legacy": "legacy", "modern": "2026-07-28"}


def say(message):
    print(json.dumps(message), flush=True)


class Storage:
    """Keeps in memory what the SDK asks to keep."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def session(protocol, url, calls):
    storage = Storage()
    sign_ins = 0

    async def open_browser(address):
        nonlocal sign_ins
        sign_ins += 1
        say({"authorize": address})

    async def browser_is_back():
        line = await asyncio.to_thread(sys.stdin.readline)
        parameters = {name: values[0] for name, values in parse_qs(urlsplit(line.strip()).query).items()}
        return AuthorizationCodeResult(
            code=parameters.get("code", ""), state=parameters.get("state"), iss=parameters.get("iss")
        )

    auth = OAuthClientProvider(
        server_url=url,
        client_metadata=OAuthClientMetadata(
            client_name="Behalf Python client",
            redirect_uris=["http://127.0.0.1:33422/callback"],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            token_endpoint_auth_method="none",
        ),
        storage=storage,
        redirect_handler=open_browser,
        callback_handler=browser_is_back,
    )
    results = []
    # OpenSSL reads SSL_CERT_FILE. httpx2 would also read the variables of proxies.
    trust = ssl.create_default_context()
    async with httpx2.AsyncClient(auth=auth, timeout=90, trust_env=False, verify=trust) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=MODES[protocol]) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            for tool, arguments in calls:
                result = await client.call_tool(tool, arguments)
                text = "\n".join(getattr(part, "text", "") for part in result.content)
                results.append({"isError": bool(result.is_error), "text": text})
    scope = storage.tokens.scope if storage.tokens else None
    say({"session": {"signIns": sign_ins, "scope": scope or "", "tools": tools, "results": results}})


async def main():
    protocol, url, sign_ins, calls = sys.argv[1:]
    for _ in range(int(sign_ins)):
        await session(protocol, url, json.loads(calls))


asyncio.run(main())
