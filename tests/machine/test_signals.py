import os
import signal
import threading

import pytest

from seqtrain.terminal.progress import run_in_thread


def test_work_is_awaited():
    assert run_in_thread(lambda: 3, lambda: None) == 3
    with pytest.raises(ZeroDivisionError):
        run_in_thread(lambda: 1 // 0, lambda: None)


def test_a_signal_is_heard_while_work_does_not_return():
    forever, before = threading.Event(), signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        run_in_thread(forever.wait, lambda: None)
    forever.set()
    signal.signal(signal.SIGINT, before)
