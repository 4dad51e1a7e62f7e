#!/usr/bin/env python3
"""Writes golden/operators.safetensors and golden/operators.json, which the program embeds for `pbe-gpu parity`.

Inputs are random float32 numbers; results are what PyTorch computes from them in float64, rounded once to float32.
Each case names its operator, its attributes, and (as `case.name`) its tensors, in NCHW and OIHW order.

Needs: pip install torch==2.11.0 numpy safetensors.  Run: python3 scripts/make-golden.py
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

LIMIT = 250 * 1024
OUT = Path(__file__).resolve().parent.parent / "golden"
generator = torch.Generator().manual_seed(7)
tensors, cases = {}, []


def normal(*shape, scale=1.0):
    """Random numbers that float32 holds exactly, in float64."""
    return (torch.randn(*shape, generator=generator) * scale).float().double()


def uniform(*shape):
    return torch.rand(*shape, generator=generator).float().double()


def add(name, operator, attributes=None, **values):
    """Records a case with its tensors."""
    for key, value in values.items():
        value = value.detach()
        value = value.float() if value.is_floating_point() else value.long()
        tensors[f"{name}.{key}"] = value.contiguous().clone()
    cases.append({"case": name, "operator": operator, **(attributes or {}), "tensors": sorted(values)})


def differentiate(function, *inputs):
    """The output of `function`, a random gradient in it, and the gradients in the inputs."""
    inputs = [value.clone().requires_grad_() for value in inputs]
    y = function(*inputs)
    dy = normal(*y.shape)
    return y, dy, torch.autograd.grad(y, inputs, dy)


def convolutions():
    # name, input, filter, stride, padding, dilation, groups, bias
    for name, x, w, stride, padding, dilation, groups, bias in [
        ("conv_same", (2, 16, 8, 8), (16, 16, 3, 3), 1, 1, 1, 1, False),
        ("conv_odd", (1, 16, 7, 9), (16, 16, 3, 3), 1, 1, 1, 1, True),
        ("conv_strided", (2, 5, 9, 11), (7, 5, 3, 3), 2, 1, 1, 1, False),
        ("conv_point", (2, 12, 7, 7), (10, 12, 1, 1), 2, 0, 1, 1, False),
        ("conv_depthwise", (1, 8, 8, 8), (8, 1, 3, 3), 1, 1, 1, 8, False),
        ("conv_groups", (1, 8, 6, 6), (12, 2, 3, 3), 2, 1, 1, 4, True),
        ("conv_dilated", (1, 4, 11, 11), (4, 4, 3, 3), 1, 2, 2, 1, False),
        ("conv_wide", (1, 3, 15, 13), (4, 3, 7, 7), 2, 3, 1, 1, False),
        ("conv_column", (1, 2, 6, 5), (3, 2, 3, 1), 1, 0, 1, 1, True),
    ]:
        x, w = normal(*x), normal(*w, scale=0.3)
        extra = [normal(w.shape[0])] if bias else []
        y, dy, grads = differentiate(
            lambda x, w, b=None: F.conv2d(x, w, b, stride, padding, dilation, groups), x, w, *extra)
        values = dict(x=x, weight=w, y=y, dy=dy, dx=grads[0], dweight=grads[1])
        if bias:
            values |= dict(bias=extra[0], dbias=grads[2])
        add(name, "convolution", dict(stride=stride, padding=padding, dilation=dilation, groups=groups), **values)


def linear():
    x, w, b = normal(5, 19), normal(7, 19), normal(7)
    y, dy, (dx, dw, db) = differentiate(F.linear, x, w, b)
    add("linear", "linear", x=x, weight=w, bias=b, y=y, dy=dy, dx=dx, dweight=dw, dbias=db)


def batch_norm():
    for training in (True, False):
        x, gamma, beta = normal(3, 6, 5, 4, scale=2) + 1, uniform(6) + 0.5, normal(6)
        mean, variance = normal(6), uniform(6) + 0.5
        x, gamma, variance = x.float().double(), gamma.float().double(), variance.float().double()
        mean_after, variance_after = mean.clone(), variance.clone()
        y, dy, (dx, dgamma, dbeta) = differentiate(
            lambda x, g, b: F.batch_norm(x, mean_after, variance_after, g, b, training, 0.1, 1e-5), x, gamma, beta)
        mode = "train" if training else "eval"
        add(
            f"batchnorm_{mode}", f"batchnorm_{mode}", dict(eps=1e-5, momentum=0.1), x=x, gamma=gamma, beta=beta,
            running_mean=mean, running_var=variance, y=y, dy=dy, dx=dx, dgamma=dgamma, dbeta=dbeta,
            running_mean_after=mean_after, running_var_after=variance_after)


def activations():
    for name, function, attributes in [
        ("relu", F.relu, {}),
        ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), dict(slope=0.2)),
        ("elu", lambda x: F.elu(x, 0.7), dict(alpha=0.7)),
        ("tanh", torch.tanh, {}),
        ("sigmoid", torch.sigmoid, {}),
        ("silu", F.silu, {}),
        ("hardswish", F.hardswish, {}),
    ]:
        x = normal(2, 3, 4, 4, scale=2)
        y, dy, (dx,) = differentiate(function, x)
        add(name, name, attributes, x=x, y=y, dy=dy, dx=dx)


def pools():
    for name, operator, function, kernel, stride, padding in [
        ("max_pool", "max_pool", F.max_pool2d, 2, 2, 0),
        ("max_pool_overlapping", "max_pool", F.max_pool2d, 3, 2, 1),
        ("average_pool", "average_pool", F.avg_pool2d, 4, 4, 0),
        ("average_pool_overlapping", "average_pool", F.avg_pool2d, 3, 2, 1),
    ]:
        x = normal(2, 3, 8, 8)
        y, dy, (dx,) = differentiate(lambda x: function(x, kernel, stride, padding), x)
        add(name, operator, dict(kernel=kernel, stride=stride, padding=padding), x=x, y=y, dy=dy, dx=dx)


def resampling():
    for corners in (False, True):
        attributes = dict(interpolation="bilinear", align_corners=corners)
        x = normal(1, 3, 5, 4)
        y, dy, (dx,) = differentiate(
            lambda x: F.interpolate(x, size=(11, 9), mode="bilinear", align_corners=corners), x)
        add(f"bilinear_{'corners' if corners else 'centers'}", "resize", attributes, x=x, y=y, dy=dy, dx=dx)
        x = normal(1, 2, 4, 4)
        y = F.interpolate(x, size=(13, 10), mode="bicubic", align_corners=corners)
        add(
            f"bicubic_{'corners' if corners else 'centers'}", "resize",
            dict(interpolation="bicubic", align_corners=corners), x=x, y=y)
    x, field = uniform(2, 3, 9, 7), normal(2, 9, 7, 2, scale=0.7)
    add("grid_sample", "grid_sample", x=x, field=field, y=F.grid_sample(x, field, align_corners=True))


def losses():
    logits, labels = normal(7, 10, scale=3), torch.randint(0, 10, (7,), generator=generator)
    wanted = logits.clone().requires_grad_()
    loss = F.cross_entropy(wanted, labels)
    (gradient,) = torch.autograd.grad(loss, wanted)
    add(
        "cross_entropy", "cross_entropy", logits=logits, labels=labels, loss=loss.reshape(1), dlogits=gradient)
    a, b = normal(6, 10), normal(6, 10)
    add("logit_agreement", "logit_agreement", a=a, b=b, y=0.5 + 0.5 * F.cosine_similarity(a, b))


def optimizers():
    for name, operator, optimizer, attributes in [
        ("sgd", "sgd", torch.optim.SGD, dict(learning_rate=0.1, momentum=0.9, weight_decay=5e-4, nesterov=False)),
        ("sgd_nesterov", "sgd", torch.optim.SGD,
         dict(learning_rate=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)),
        ("adam", "adam", torch.optim.Adam, dict(learning_rate=0.01, weight_decay=0.0, eps=1e-8)),
        ("adam_decay", "adam", torch.optim.Adam, dict(learning_rate=0.01, weight_decay=0.01, eps=1e-8)),
    ]:
        before, gradients = normal(21), normal(4, 21)
        parameter = torch.nn.Parameter(before.clone())
        options = {"lr" if key == "learning_rate" else key: value for key, value in attributes.items()}
        stepper = optimizer([parameter], **options)
        for gradient in gradients:
            parameter.grad = gradient.clone()
            stepper.step()
        add(name, operator, attributes, before=before, gradients=gradients, after=parameter)


def triggers():
    # Sample i takes pattern (i - (flag - 1)) mod 3, none where its flag is 0.
    x, flags = uniform(5, 3, 6, 4), torch.tensor([1, 0, 2, 4, 1])
    mask = uniform(3, 1, 6, 4)
    taken = (torch.arange(5) - (flags - 1)) % 3

    def blend(pattern):
        return torch.where((flags > 0)[:, None, None, None], x + (pattern[taken] - x) * mask[taken], x)

    pattern = uniform(3, 3, 6, 4)
    y, dy, (dpattern,) = differentiate(blend, pattern)
    add("trigger", "trigger", x=x, flags=flags, mask=mask, pattern=pattern, y=y, dy=dy, dpattern=dpattern)

    def distance(images):
        return (images - images.roll(-1, 0)).square().mean((1, 2, 3)).sqrt()

    x, y = uniform(4, 3, 5, 4), uniform(4, 2, 5, 4).requires_grad_()
    loss = (distance(x) / (distance(y) + 1e-7)).mean()
    (gradient,) = torch.autograd.grad(loss, y)
    add("diversity", "diversity", x=x, y=y, loss=loss.reshape(1), dy=gradient)


for group in (convolutions, linear, batch_norm, activations, pools, resampling, losses, optimizers, triggers):
    group()
OUT.mkdir(exist_ok=True)
target = OUT / "operators.safetensors"
save_file(tensors, target)
(OUT / "operators.json").write_text(json.dumps({"operators": cases}, indent=1) + "\n")
if target.stat().st_size > LIMIT:
    raise SystemExit(f"{target.name} is larger than {LIMIT} bytes")
print(f"{len(cases)} cases, {target.stat().st_size} bytes")
