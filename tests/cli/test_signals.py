"""Ctrl-C while a command works: it ends once, and is neither swallowed nor taken for damage."""

import importlib
import signal
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from landscape.cli.signals import Interrupted, interruptible, signals_heard
from landscape.storage import damage


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def within_h5py(folder: Path, done: list[str]) -> None:
    with h5py.File(folder / "f.h5", "w") as file:
        file["a"] = 1
        file.visit(lambda _: press())
        done.append("visited")


def within_a_finalizer(folder: Path, done: list[str]) -> None:
    class Late:
        def __del__(self) -> None:
            press()
            done.append("collected")

    Late()


def within_a_weak_reference(folder: Path, done: list[str]) -> None:
    class Thing:
        pass

    def gone(_: object) -> None:
        press()
        # Not reached: Python reports what is raised here, and goes on.
        done.append("never")

    thing = Thing()
    watch = weakref.ref(thing, gone)
    del thing
    assert watch() is None
    done.append("went on")


def within_an_import(folder: Path, done: list[str]) -> None:
    # A library of C++ that is being loaded ends the process.
    (folder / "loaded_slowly.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nloaded = True\n")
    sys.path.insert(0, str(folder))
    try:
        assert importlib.import_module("loaded_slowly").loaded
    finally:
        sys.path.remove(str(folder))
    done.append("loaded")


@pytest.mark.parametrize(
    ("work", "first"),
    [
        (within_h5py, "visited"),
        (within_a_finalizer, "collected"),
        (within_a_weak_reference, "went on"),
        (within_an_import, "loaded"),
    ],
)
def test_an_interrupt_where_it_would_be_swallowed_comes_again(
    tmp_path: Path, work: Callable[[Path, list[str]], None], first: str
) -> None:
    done: list[str] = []

    def go_on() -> None:
        with interruptible():
            work(tmp_path, done)
            time.sleep(5)
            done.append("slept")

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with signals_heard(), pytest.raises(KeyboardInterrupt):
        go_on()
    assert done == [first]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert sys.unraisablehook is not None


def test_an_interrupt_before_the_work_ends_it_and_one_after_finds_it_done() -> None:
    with signals_heard() as heard:
        with interruptible():
            pass
        press()
        assert heard.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt), interruptible():
            raise AssertionError("begun")


def test_a_fault_that_a_library_makes_of_an_interrupt_is_that_interrupt() -> None:
    def converted() -> None:
        with interruptible():
            try:
                press()
            except KeyboardInterrupt:
                raise TypeError("incompatible function arguments") from None

    def own() -> None:
        with interruptible():
            raise TypeError("of our own")

    def told() -> None:
        with interruptible():
            try:
                press()
            except KeyboardInterrupt:
                raise Interrupted("what is kept") from None

    with signals_heard(), pytest.raises(KeyboardInterrupt):
        converted()
    with signals_heard(), pytest.raises(TypeError):
        own()
    with signals_heard(), pytest.raises(Interrupted, match="what is kept"):
        told()


def test_what_h5py_makes_of_an_interrupt_is_no_damage(tmp_path: Path) -> None:
    def swallowed() -> None:
        with damage(tmp_path / "f.h5"):
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as error:
                raise SystemError("returned a result with an exception set") from error

    with pytest.raises(KeyboardInterrupt):
        swallowed()


def swallowing() -> None:
    try:
        press()
    except KeyboardInterrupt:
        # As code in C does that calls Python and drops what it raises.
        end = time.monotonic() + 20
    while time.monotonic() < end:
        time.sleep(0.05)


def closing_slowly() -> None:
    try:
        press()
    finally:
        time.sleep(1.5)


def telling_slowly() -> None:
    try:
        press()
    except KeyboardInterrupt:
        time.sleep(1.5)
        raise Interrupted("kept") from None


def test_an_interrupt_that_something_swallows_comes_again() -> None:
    began = time.monotonic()
    with signals_heard(), pytest.raises(KeyboardInterrupt), interruptible():
        swallowing()
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("body", "ends"), [(closing_slowly, KeyboardInterrupt), (telling_slowly, Interrupted)])
def test_what_an_interrupt_ends_is_closed_in_peace(body: Callable[[], None], ends: type[BaseException]) -> None:
    """The control: an interrupt on its way is not taken for a swallowed one, however long the way."""
    began = time.monotonic()
    with signals_heard(), pytest.raises(ends), interruptible():
        body()
    assert time.monotonic() - began >= 1.5
