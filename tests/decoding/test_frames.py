import torch
from small import make_model, same

from seqtrain.contract import Batch, Free, Reals, Spec
from seqtrain.decoding.decoder import Decoder
from seqtrain.likelihoods.autoregressive import Autoregressive

SPEC = Spec(None, False, Reals((5,)), Autoregressive(5, rank=2), Free())


def decoder(temperature: float, length: int = 4, seed: int = 0) -> Decoder:
    return Decoder(1, 1, 1.0, 0.0, temperature, 0, 1.0, None, 0, 0, 1.0, 0, length, "float32", seed)


def test_each_frame_is_the_best_one_after_those_before_it():
    model, prompt = make_model("one_to_many", SPEC), torch.rand(2, 3, 5).round()
    found = decoder(0.0).frames(model, Batch(None, None, prompt))
    assert found.shape == (2, 4, 5)
    for t in range(4):
        whole = torch.cat([prompt, found[:, :t]], 1)
        hidden, _ = model.decode(whole, None, None)
        same(found[:, t], SPEC.likelihood.pick(model.output(hidden[:, -1])))


def test_samples_depend_on_the_seed_alone():
    model, batch = make_model("one_to_many", SPEC), Batch(None, None, torch.zeros(2, 1, 5))
    first, again, other = (decoder(1.0, 30, seed).frames(model, batch) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert set(first.unique().tolist()) == {0.0, 1.0}
