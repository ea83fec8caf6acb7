"""Train a network on handwritten digits, stop when it gets no better, and keep it: a second or two."""

import fastdl as fd
from fastdl import nn

x, y = fd.data.load_digits()
train, dev, test = fd.data.split(x / 16, y, parts=(0.7, 0.15, 0.15), stratify=True, seed=0)
model = nn.Sequential(nn.Linear(128, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10))
trainer = fd.Trainer(model, loss=fd.losses.SoftmaxCrossEntropy(), optimizer=fd.optim.Adam(3e-3), device="auto", seed=0)
stopping = fd.callbacks.EarlyStopping("val_loss", patience=3)
history = trainer.fit(*train, validation=dev, epochs=100, batch_size=64, callbacks=[stopping])
print(f"stopped after {len(history)} epochs; with the weights of the best, on the test part:")
print(trainer.evaluate(*test))
trainer.save("digits.safetensors")
