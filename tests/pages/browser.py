"""A headless Chromium, driven through its DevTools protocol: one browser, one page, and what went wrong on it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Graphics without a graphics card, and nothing of its own that would call home.
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--remote-debugging-port=0", "about:blank"),
)
SECONDS = 60.0


def browser_path() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """Open files, run scripts on them, and keep errors, warnings and requests."""

    def __init__(self, profile: Path) -> None:
        import websocket

        self.process = subprocess.Popen(
            [str(browser_path()), f"--user-data-dir={profile}", *FLAGS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = self._port(profile / "DevToolsActivePort")
        with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            address = next(one for one in json.load(answer) if one["type"] == "page")["webSocketDebuggerUrl"]
        self.socket = websocket.create_connection(address, timeout=SECONDS, suppress_origin=True)
        self.count = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.loaded = False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=SECONDS)

    def _port(self, file: Path) -> int:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if file.exists() and (lines := file.read_text().splitlines()):
                return int(lines[0])
            time.sleep(0.05)
        raise TimeoutError("the browser did not start")

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        self.count += 1
        number = self.count
        self.socket.send(json.dumps({"id": number, "method": method, "params": given}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self._heard(message)

    def _heard(self, message: dict[str, Any]) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.complaints.append(json.dumps(told["args"])[:600])
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(told["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"a dialog opened: {told['message']}")
            self.count += 1
            accept = {"id": self.count, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
            self.socket.send(json.dumps(accept))
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(self, path: Path, *, width: int = 1400, height: int = 1000, dark: bool = False) -> None:
        self.complaints, self.requests, self.loaded = [], [], False
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self.loaded:
            self._heard(json.loads(self.socket.recv()))
        self.settle()

    def settle(self) -> None:
        """Wait until all plots are drawn: two frames after the last promise."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """The value of an expression on the page, a promise's once it is kept."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:600])
        return found["result"].get("value")

    def turned(self, name: str, seconds: float) -> list[float]:
        """Drag a drawing with the mouse; the times of its frames in milliseconds, all but the first few."""
        box = self.run(f"document.getElementById('{name}').getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}

        def mouse(kind: str, buttons: int) -> None:
            button = "left" if buttons or kind == "mouseReleased" else "none"
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                **at,
                button=button,
                buttons=buttons,
                clickCount=int(button == "left"),
            )

        def moved() -> None:
            at["x"] += 3
            mouse("mouseMoved", 1)

        mouse("mouseMoved", 0)
        mouse("mousePressed", 1)
        for _ in range(4):
            moved()
        self.run(
            "(() => { window.frames_ = []; const next = (time) => { window.frames_.push(time);"
            " window.frame_ = requestAnimationFrame(next); }; window.frame_ = requestAnimationFrame(next); })()"
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            moved()
        times = self.run("(cancelAnimationFrame(window.frame_), window.frames_)")
        mouse("mouseReleased", 0)
        return [float(one) for one in times]

    def picture(self, path: Path, *, whole: bool = True) -> Path:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path
