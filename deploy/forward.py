"""Passes TCP connections to an address on to the same ports of 127.0.0.1, until it is ended.

Usage: forward.py <address> <port>...
"""
import asyncio, sys


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the other side is told below
    finally:
        writer.close()


async def listen(address, port):
    async def passed_on(reader, writer):
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, to_writer), copy(to_reader, writer))

    server = await asyncio.start_server(passed_on, address, port)
    await server.serve_forever()


async def main(address, *ports):
    await asyncio.gather(*(listen(address, int(port)) for port in ports))


asyncio.run(main(*sys.argv[1:]))
