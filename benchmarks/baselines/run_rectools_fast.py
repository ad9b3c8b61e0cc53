"""The flat SASRec of RecTools' `fast_transformers` under the protocol of the benchmark.

The package has the network and how sequences are made; a model of its own trains on given embeddings alone, so the loop here is
the plainest that PyTorch has. Its feed-forward layers, four times as wide and with another activation, are made as large as
those of the other systems; embeddings start as those of the package's trained network do.
"""

import time

import numpy as np
import protocol
import torch
from rectools import fast_transformers
from torch import nn
from torch.nn import functional
from torch.utils import data

_USERS_AT_ONCE = 256
_START = 0.02


def main() -> None:
    """Trains and answers as the benchmark commands."""
    worker = protocol.Worker()
    torch.manual_seed(worker.arguments["seed"])
    users, items = worker.table(protocol.TRAIN)
    length = worker.meta["length"]
    # The rows are in time order.
    x, y, known, _ = fast_transformers.build_sequences(
        torch.from_numpy(users).long(),
        torch.from_numpy(items).long(),
        torch.arange(len(users)),
        max_len=length,
    )
    net = fast_transformers.FlatSASRecNet(
        len(known), protocol.DIM, protocol.BLOCKS, protocol.HEADS, length, protocol.DROPOUT
    )
    for embedding in (net.item_emb, net.pos_emb):
        nn.init.normal_(embedding.weight, std=_START)
    with torch.no_grad():
        net.item_emb.weight[net.PADDING_IDX] = 0
    for block in net.blocks:
        block.ffn = nn.Sequential(
            nn.Linear(protocol.DIM, protocol.DIM),
            nn.ReLU(),
            nn.Dropout(protocol.DROPOUT),
            nn.Linear(protocol.DIM, protocol.DIM),
            nn.Dropout(protocol.DROPOUT),
        )
    optimizer = torch.optim.Adam(net.parameters(), lr=protocol.LEARNING_RATE)
    batches = data.DataLoader(
        fast_transformers.SequenceBatchDataset(x, y), batch_size=protocol.BATCH_SIZE, shuffle=True
    )
    targets, going = int((y != 0).sum()), worker.start()
    while going:
        net.train()
        start = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad()
            logits = net(batch)
            # Its logits are without the padding, which stands before the first item.
            loss = functional.cross_entropy(logits.flatten(0, 1), batch["y"].flatten() - 1, ignore_index=-1)
            loss.backward()
            optimizer.step()
        going = worker.piece(targets, time.perf_counter() - start)

    place = torch.zeros(len(worker.meta["counts"]), dtype=torch.long)
    place[known] = torch.arange(1, len(known) + 1)

    # Without gradients PyTorch's attention takes a faster path that makes NaN of what this network masks of a padded sequence.
    torch.backends.mha.set_fastpath_enabled(False)

    @torch.no_grad()
    def scores() -> np.ndarray:
        net.eval()
        histories = torch.zeros([worker.meta["users"], length], dtype=torch.long)
        for row, own in zip(histories, worker.sequences(protocol.HISTORY)):
            kept = place[torch.from_numpy(own[-length:]).long()]
            row[length - len(kept) :] = kept
        table = torch.full([len(histories), len(place)], -torch.inf)
        for start in range(0, len(histories), _USERS_AT_ONCE):
            chosen = slice(start, start + _USERS_AT_ONCE)
            found = net.encode_last(histories[chosen]) @ net.all_item_embeddings().T
            table[chosen, known] = found
        return table.numpy()

    worker.serve(scores)


if __name__ == "__main__":
    main()
