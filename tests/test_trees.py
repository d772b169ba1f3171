"""All partial answers to a question are read at once, as a tree: each node sees only the tokens before it."""

import numpy as np
import paddle
import pytest
from test_shared_prefix import GLM, IMAGE_OF_PAIR, MASK, QUESTION, T5, VISUAL, language_of

from imageclef_vqa.models.language import Trees

WORDS = paddle.to_tensor([3, 30, 33, 35])
# Two trees by the parents of their nodes, whose tokens are any; the second one has an unused node.
PARENTS = [[None, 0, 0, 2, 3, 2], [None, 0, 1, 1, 0, None]]
OF_PAIR = np.array([0, 1, 1, 0])


def path(tree, node):
    """The nodes from the start to `node`."""
    parent = PARENTS[tree][node]
    return [*(path(tree, parent) if parent is not None else []), node]


@pytest.mark.parametrize("sizes", [T5, GLM], ids=["T5", "GLM"])
@pytest.mark.parametrize("subset", [False, True])
def test_each_node_has_the_logits_of_its_tokens_by_themselves(sizes, subset):
    language = language_of(sizes)
    tokens = np.random.default_rng(2).integers(20, 40, (2, 6))
    tokens[:, 0] = language.start
    before = np.array([[[j in path(tree, i) for j in range(6)] for i in range(6)] for tree in range(2)])
    memory = language.encode(paddle.to_tensor(VISUAL).index_select(IMAGE_OF_PAIR), QUESTION, MASK)
    pairs = np.array([1, 3]) if subset else np.arange(4)
    own = memory.rows(paddle.to_tensor(pairs)) if subset else memory
    found = language.tree_logits(own, Trees(tokens, before, OF_PAIR[pairs]), language.head(WORDS)).numpy()
    assert found.shape == (len(pairs), 6, len(WORDS))
    for row, pair in enumerate(pairs):
        tree = OF_PAIR[pair]
        for node in range(5 if tree else 6):
            said = tokens[tree, path(tree, node)][1:].tolist()
            alone = language.answer_logits(memory.rows(paddle.to_tensor([pair])), paddle.to_tensor([[*said, 0]]))
            np.testing.assert_allclose(found[row, node], alone[0, -1].index_select(WORDS).numpy(), atol=2e-5)
