"""bfloat16 where the processor has instructions for it, by faked descriptions of processors."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch

from seqtrain.commands.assembly import Assembly
from seqtrain.config import UserError
from seqtrain.machine import device, processor

XEON = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6248\nflags\t\t: fpu avx2 avx512f avx512bw avx512_vnni\n\n"
PROCESSORS = {
    "AVX512-VNNI only": (XEON, False),
    "AVX512-BF16": (XEON.replace("avx512_vnni", "avx512_vnni avx512_bf16"), True),
    "AMX-BF16": (XEON.replace("avx512_vnni", "avx512_vnni amx_bf16 amx_tile"), True),
    "AVX2": ("flags\t\t: fpu avx2 fma\n", False),
    "ARM with bf16": ("processor\t: 0\nFeatures\t: fp asimd i8mm bf16 dgh\n", True),
    "ARM": ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", False),
    "the word elsewhere": (XEON.replace("Gold", "bf16 amx_bf16"), False),
    "nothing": ("", False),
}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    for kept in (processor.instructions, processor.slowdown, device.warn_of_emulation):
        kept.cache_clear()
    yield
    for kept in (processor.instructions, processor.slowdown, device.warn_of_emulation):
        kept.cache_clear()


def fake(text: str, place: Path, patch: pytest.MonkeyPatch, able: bool = True) -> None:
    (place / "cpuinfo").write_text(text)
    patch.setattr(sys, "platform", "linux")
    patch.setattr(processor, "CPUINFO", place / "cpuinfo")
    patch.setattr(processor, "runs_bfloat16", lambda: able)
    for name in processor.LIMITS:
        patch.delenv(name, raising=False)


@pytest.mark.parametrize("able", [True, False])
@pytest.mark.parametrize("name", PROCESSORS)
def test_auto_is_bfloat16_where_the_processor_has_it(
    name: str, able: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """able: whether oneDNN says that it takes such products, by instructions or by others."""
    text, has = PROCESSORS[name]
    fake(text, tmp_path, monkeypatch, able)
    settled = "bfloat16" if has and able else "float32"
    cfg = tiny.config("sentiment", trainer__precision="auto", decode__precision="auto")
    assert Assembly(cfg).trainer.precision == Assembly(cfg).decoder.precision == settled


@pytest.mark.parametrize("name", processor.LIMITS)
@pytest.mark.parametrize(("limit", "settled"), [
    ("AVX2", "float32"), ("avx512_core_vnni", "float32"), ("AVX512_CORE_BF16", "bfloat16"), ("ALL", "bfloat16"),
    ("", "bfloat16"),
])  # fmt: skip
def test_instructions_that_onednn_may_not_use_do_not_count(
    limit: str, settled: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fake(PROCESSORS["AVX512-BF16"][0], tmp_path, monkeypatch)
    monkeypatch.setenv(name, limit)
    assert device.settle_precision("trainer.precision", "auto", torch.device("cpu")) == settled


def test_a_refusal_names_what_limits_onednn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processor, "runs_bfloat16", lambda: False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    with pytest.raises(UserError, match=r"this CPU \(oneDNN may use AVX2 at most\) has no such arithmetic"):
        device.settle_precision("trainer.precision", "bfloat16", torch.device("cpu"))


def test_what_torch_allows_and_onednn_refuses_does_not_run(monkeypatch: pytest.MonkeyPatch):
    """As where ONEDNN_MAX_CPU_ISA is AVX2: torch asks the processor alone."""

    def refuse(*_: object) -> None:
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *_: None)
    assert processor.runs_bfloat16()
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", refuse)
    assert not processor.runs_bfloat16()


def test_without_a_description_nothing_is_assumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert not processor.has_bfloat16()


@pytest.mark.parametrize(("ratio", "said"), [(6.31, True), (0.7, False)])
def test_bfloat16_by_name_is_warned_of_once_where_it_is_slower(
    ratio: float, said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    fake(XEON, tmp_path, monkeypatch)
    monkeypatch.setattr(processor, "slowdown", lambda: ratio)
    cfg = tiny.config("sentiment", trainer__precision="bfloat16")
    for _ in range(2):
        assert Assembly(cfg).trainer.precision == "bfloat16"
    told = "trainer.precision=bfloat16: this CPU emulates it, and a product takes 6.3 times as long as in float32; "
    assert [record.getMessage() for record in caplog.records] == [
        told + "trainer.precision=auto takes float32 here"
    ] * said


def test_a_product_is_timed():
    assert processor.slowdown() > 0
