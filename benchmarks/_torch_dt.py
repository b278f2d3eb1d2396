"""The decision transformer in eager PyTorch, as the official code has it: ``transformer.py``'s
yardstick. The same sizes, loss, dropout, AdamW with warm-up and clipping as handrail's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu

from handrail.learners.decision_transformer import DTSettings
from handrail.types import Spec


class Block(nn.Module):
    """A pre-LN GPT-2 block of one head, attention written out as in that code's GPT-2."""

    def __init__(self, width: int, rate: float):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.rate = rate

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        q, k, v = self.qkv(self.ln_1(x)).chunk(3, -1)
        score = (q @ k.transpose(1, 2)) * q.shape[-1] ** -0.5
        weight = score.masked_fill(hidden, -1e9).softmax(-1)
        x = x + dropout(self.proj(dropout(weight, self.rate) @ v), self.rate)
        return x + dropout(self.out(relu(self.fc(self.ln_2(x)))), self.rate)


class TorchDT(nn.Module):
    def __init__(self, settings: DTSettings, spec: Spec):
        super().__init__()
        assert settings.heads == 1
        d, o, a = settings.embed, spec.observation_size, spec.action_size
        self.time = nn.Embedding(spec.horizon, d)
        self.embed = nn.ModuleList(nn.Linear(size, d) for size in (1, o, a))
        self.ln, self.ln_f, self.head = nn.LayerNorm(d), nn.LayerNorm(d), nn.Linear(d, a)
        self.blocks = nn.ModuleList(Block(d, settings.dropout) for _ in range(settings.layers))
        self.settings = settings
        rate, decay = settings.learning_rate, settings.weight_decay
        self.adamw = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.adamw, lambda step: min(1.0, (step + 1) / settings.warmup)
        )

    def forward(self, s: Tensor, a: Tensor, r: Tensor, time: Tensor, mask: Tensor) -> Tensor:
        b, k, _ = s.shape
        rows = (r[..., None], s, a)
        parts = [e(x) + self.time(time) for e, x in zip(self.embed, rows, strict=True)]
        x = torch.stack(parts, 2).reshape(b, 3 * k, -1)
        x = dropout(self.ln(x), self.settings.dropout)
        past = torch.ones(3 * k, 3 * k, dtype=torch.bool).tril()
        hidden = ~(past & (mask.repeat_interleave(3, 1) > 0)[:, None])
        for block in self.blocks:
            x = block(x, hidden)
        return torch.tanh(self.head(self.ln_f(x)[:, 1::3]))

    def update(self, s: Tensor, a: Tensor, r: Tensor, time: Tensor, mask: Tensor) -> None:
        error = ((self(s, a, r, time, mask) - a) ** 2).mean(-1)
        loss = (error * mask).sum() / mask.sum()
        self.adamw.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), self.settings.clip)
        self.adamw.step()
        self.schedule.step()
