import torch
import torch.nn.functional as F

from fp_lab.backbones.tiny.blocks import squared_relu


def test_the_squared_relu_is_the_square_of_the_relu_and_so_is_its_gradient() -> None:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.testing.assert_close(squared_relu(x), F.relu(x).square(), rtol=0, atol=0)
    of_two = [
        torch.autograd.grad(square.sin().sum(), x)[0] for square in (squared_relu(x), F.relu(x).square())
    ]
    torch.testing.assert_close(*of_two)
    assert torch.autograd.gradcheck(squared_relu, x.detach().double().requires_grad_())
