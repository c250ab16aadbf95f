"""A small convolutional network: 8x8 grey in 0..1 → 10 logits."""

import torch
from torch import nn

CHANNELS = (32, 64, 64)
HIDDEN = 64
CLASSES = 10


class DigitNetwork(nn.Module):
    """Two convolutions at 8x8, one at 4x4, two dense layers. `graph.py` writes the same layers as ONNX nodes."""

    def __init__(self):
        super().__init__()
        first, second, third = CHANNELS
        self.conv1 = nn.Conv2d(1, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.conv3 = nn.Conv2d(second, third, 3, padding=1)
        self.dense1 = nn.Linear(third * 4, HIDDEN)
        self.dense2 = nn.Linear(HIDDEN, CLASSES)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv1(image))
        x = self.pool(torch.relu(self.conv2(x)))
        x = self.pool(torch.relu(self.conv3(x)))
        x = self.dropout(x.flatten(1))
        return self.dense2(self.dropout(torch.relu(self.dense1(x))))
