import pytest
import torch

from napari_iseg.backends.base import ClickNet
from napari_iseg.training.iterative import free_clicks, icl_objective


class Linear(ClickNet):
    """Logits = a * mean colour + b * previous mask; remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(0.7))
        self.b = torch.nn.Parameter(torch.tensor(0.4))
        self.seen = []

    def forward(self, image, prev_mask, clicks):
        self.seen.append((prev_mask, clicks.clone(), self.training))
        return self.a * image.mean(1, keepdim=True) + self.b * prev_mask


def inputs():
    generator = torch.Generator().manual_seed(1)
    truth = (torch.rand(2, 1, 6, 6, generator=generator) > 0.5).float()
    return torch.rand(2, 3, 6, 6, generator=generator), truth, torch.full((2, 4, 3), -1.0)


def one_more(probability, truth, clicks):
    return clicks + 1


def test_later_forwards_weigh_more():
    objective = icl_objective(Linear(), *inputs(), forwards=3, add_click=one_more)
    first, second, third = objective.terms
    torch.testing.assert_close(objective.loss, first + 2 * second + 3 * third)
    assert (objective.clicks == 1).all()


def test_no_gradient_flows_into_earlier_forwards():
    net = Linear()
    icl_objective(net, *inputs(), forwards=3, add_click=one_more)
    assert not any(previous.requires_grad for previous, _, _ in net.seen)
    assert not net.seen[0][0].any()
    assert [float(clicks.max()) for _, clicks, _ in net.seen] == [-1, 0, 1]


@pytest.mark.parametrize("training", [True, False])
def test_free_forwards_run_in_evaluation_mode(training):
    net = Linear().train(training)
    previous, clicks = free_clicks(net, *inputs(), count=2, add_click=one_more)
    assert [mode for _, _, mode in net.seen] == [False, False]
    assert net.training is training
    assert not previous.requires_grad
    assert (clicks == 1).all()


def test_the_mode_comes_back_after_a_failure():
    net = Linear().train()

    def refused(*_):
        raise ValueError("no click")

    with pytest.raises(ValueError, match="no click"):
        free_clicks(net, *inputs(), count=1, add_click=refused)
    assert net.training
