"""For Envoy's ext_proc: `SOCKET COMMAND...` serves at that Unix-domain socket, and runs the command until told to end.

An asyncio server on uvloop, with the message classes of Envoy's own API: what Python has for this, at its fastest.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import grpc  # type: ignore[import-untyped]
import uvloop
from envoy.service.ext_proc.v3 import (  # type: ignore[import-not-found]
    external_processor_pb2 as messages,
)
from envoy.service.ext_proc.v3 import (
    external_processor_pb2_grpc as service,
)


class Marks(service.ExternalProcessorServicer):  # type: ignore[misc]
    async def Process(
        self, requests: AsyncIterator[messages.ProcessingRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[messages.ProcessingResponse]:
        header = dict(context.invocation_metadata()).get("mark", "x-mark-1")
        async for request in requests:
            answer = messages.ProcessingResponse()
            if request.HasField("request_headers"):
                found = {one.key: one.raw_value for one in request.request_headers.headers.headers}
                change = answer.request_headers.response.header_mutation.set_headers.add()
                change.header.key = header
                change.header.raw_value = found.get("x-user", b"-") + b"/" + found.get("x-team", b"-")
            else:
                found = {one.key: one.raw_value for one in request.response_headers.headers.headers}
                change = answer.response_headers.response.header_mutation.set_headers.add()
                change.header.key = "x-answer"
                change.header.raw_value = found.get("content-type", b"-")
            yield answer


async def serve(socket: str, command: list[str]) -> None:
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    server = grpc.aio.server()
    service.add_ExternalProcessorServicer_to_server(Marks(), server)
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    proxy = await asyncio.create_subprocess_exec(*command)
    gone = asyncio.ensure_future(proxy.wait())
    await asyncio.wait((gone, asyncio.ensure_future(over.wait())), return_when=asyncio.FIRST_COMPLETED)
    if not gone.done():
        proxy.terminate()
        await gone
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2:]))
