"""A mail server on this machine: keeps what it is given as files 1, 2, … in a folder.

    python mail_server.py PORT FOLDER
"""

import asyncio
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP


class Keep:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        text = f"To: {', '.join(envelope.rcpt_tos)}\n".encode() + envelope.content
        # Whole before it is there.
        partial = self.folder / "partial"
        partial.write_bytes(text)
        partial.rename(self.folder / str(self.count))
        return "250 taken"


async def main():
    port, folder = int(sys.argv[1]), sys.argv[2]
    handler = Keep(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler), "127.0.0.1", port)
    await server.serve_forever()


asyncio.run(main())
