import asyncio

import pytest

from fastmesh.host.signal import Signal


def test_it_resumes_who_awaits_it() -> None:
    async def work() -> None:
        signal = Signal()
        async def wait() -> int:
            found: int = await signal
            return found

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert signal.is_waited_for
        signal.finish(7)
        signal.finish(8)
        assert not signal.is_waited_for and await task == 7
        with pytest.raises(RuntimeError, match="awaited once"):
            await signal
    asyncio.run(work())


def test_it_fails_whether_or_not_somebody_waits() -> None:
    async def work() -> None:
        for _ in range(2):
            signal = Signal()
            signal.fail(KeyError("no"))
        with pytest.raises(KeyError):
            await signal
    asyncio.run(work())
