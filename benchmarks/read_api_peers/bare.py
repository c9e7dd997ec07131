"""A bare ASGI application: one constant answer, as large as a summary. What uvicorn alone can do."""

import os

BODY = b"{" + b" " * (int(os.environ.get("PEER_BODY_BYTES", "700")) - 2) + b"}"
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
