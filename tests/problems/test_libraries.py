"""Models of torchvision, timm and Hugging Face by name."""

import warnings

import numpy as np
import pytest
import torch

from landscape import LandscapeError, problems
from landscape.cli.main import main

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

# What the packages of others warn of is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {"train_size": 8, "test_size": 4}


@pytest.mark.parametrize("name", ["torchvision:squeezenet1_1", "timm:test_resnet"])
def test_an_image_classifier(name):
    before = torch.random.get_rng_state()
    first, again, other = (problems.build(name, SMALL, seed=seed, device="cpu") for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert problems.parse_options(first.problem, first.problem_args).size == 32
    weights, same, others = (dict(one.model.named_parameters()) for one in (first, again, other))
    assert all(torch.equal(weights[key], same[key]) for key in weights)
    assert not all(torch.equal(weights[key], others[key]) for key in weights)


def test_a_name_that_the_library_does_not_have():
    with pytest.raises(LandscapeError, match=r"^torchvision:resnet19: .*resnet19"):
        problems.build("torchvision:resnet19", SMALL)
    with pytest.raises(LandscapeError, match=r"there is no option 'width'"):
        problems.build("torchvision:resnet18", {"width": 3})


@pytest.fixture
def folder(tmp_path):
    """A small language model with a tokenizer of bytes."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made = Tokenizer(models.BPE(vocab={sign: place for place, sign in enumerate(sorted(alphabet))}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    transformers.PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(tmp_path / "lm")
    config = transformers.GPT2Config(vocab_size=256, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "lm")
    return tmp_path / "lm"


def test_a_language_model_from_a_folder(folder, tmp_path):
    name = f"hf:{folder}"
    with pytest.raises(SystemExit) as stopped:
        main(["train", name, "-o", str(tmp_path / "run.h5"), "--epochs", "1", "--set", "context=16"])
    assert not stopped.value.code
    objective = problems.build(name, {"context": 16})
    # A model that knows nothing gives every one of 256 bytes about the same probability.
    assert objective.value(objective.model) == pytest.approx(np.log(256), rel=0.05)
    with pytest.raises(LandscapeError, match=r"is no folder of a Hugging Face model; got no config.json"):
        problems.build(f"hf:{tmp_path}")
