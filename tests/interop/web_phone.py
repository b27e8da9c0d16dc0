"""JsSIP in a page of Chromium: served by HTTPS, registered over WSS; the browser trusts the authority of the test and no other of ours."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from tests.interop.authorities import Certified, ThrowAway
from tests.interop.browser import CHROMIUM, FLAGS
from tests.polling import until

BUNDLE = Path(__file__).parents[2] / "build" / "web" / "phone.js"


def need_bundle() -> None:
    """Skips the test where the phone was not bundled; in CI that is a failure."""
    if not BUNDLE.exists() or not CHROMIUM.exists():
        missing = "chromium is not installed" if BUNDLE.exists() else "the browser phone is not bundled: run `make build/web/phone.js`"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@dataclass
class WebPhone:
    """The page's phone."""

    page: Page

    async def do(self, what: str, *arguments: Any) -> Any:
        """Call a method of the page's `Phone`."""
        return await self.page.evaluate("([what, list]) => here[what](...list)", [what, list(arguments)])

    async def events(self) -> list[str]:
        found: list[str] = await self.page.evaluate("() => here.events")
        return found

    async def expect(self, *events: str) -> None:
        """Returns once the page has told what begins with these, in this order, whatever else it told."""
        seen: list[str] = []

        async def is_told() -> bool:
            seen[:] = await self.events()
            rest = iter(seen)
            return all(any(told.startswith(event) for told in rest) for event in events)

        try:
            await until(is_told, timeout_s=20, what=f"the page tells {events}")
        except BaseException as error:
            error.add_note(f"it told {seen}")
            raise

    async def hears(self, hertz: float) -> None:
        async def is_heard() -> bool:
            return abs(float(await self.do("loudest")) - hertz) < 8

        await until(is_heard, timeout_s=30, what=f"the page hears {hertz} Hz")


@asynccontextmanager
async def page_server(certified: Certified) -> AsyncIterator[str]:
    """An HTTPS server with one page; its origin."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certified.certificate, certified.key)
    script = BUNDLE.read_bytes()
    page = b"<!doctype html><meta charset=utf-8><title>phone</title><script src=/phone.js></script>"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")).startswith(b"GET "):
                kind, body = (b"text/javascript", script) if b"/phone.js" in head[:20] else (b"text/html", page)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def browser(authority: ThrowAway, folder: Path) -> AsyncIterator[Any]:
    """Chromium with a home of its own, whose certificate store holds the authority."""
    store = folder / ".pki" / "nssdb"
    store.mkdir(parents=True)
    for arguments in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "a test's authority", "-i", str(authority.file)]):
        await asyncio.to_thread(subprocess.run, ["certutil", "-d", f"sql:{store}", *arguments], check=True, capture_output=True)
    async with async_playwright() as playwright:
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(folder)}
        started = await playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=FLAGS, env=environment)
        try:
            yield started
        finally:
            await asyncio.shield(started.close())


@asynccontextmanager
async def web_phone(started: Any, origin: str, **options: Any) -> AsyncIterator[WebPhone]:
    """A page with a phone: `url` of the gateway, `uri` and `password` of the agent, `hertz` of what it says."""
    page = await started.new_page()
    try:
        await page.goto(origin)
        await page.evaluate("options => { window.here = new Phone(options); }", options)
        yield WebPhone(page)
    finally:
        await page.close()
