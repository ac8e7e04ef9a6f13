"""Expert episodes as a Hugging Face dataset: conversations, with a flag for every answer that is to be learned."""

from pathlib import Path

from rich.console import Console

from tradeschool.prepare.folder import Identity, begun, finished
from tradeschool.tasks.base import Conversation, Task


def write_conversations(task: Task, identity: Identity, out: Path, console: Console, answers: int, seed: int) -> int:
    """Write ``data/train-00000.parquet`` and a card to ``out``; return how many conversations there are.

    Columns: ``messages`` (role and content), and ``learned``, a flag for each of its answers. At least ``answers`` of
    all are flagged, balanced over BUY, SELL and HOLD; of those that both buy and sell no more.

    Raises:
        DataError: ``out`` holds something, or cannot be written.
        RecipeError: the experts give no answers to balance.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = begun(out, identity)
    with console.status("Playing the experts' episodes"):
        talks = task.conversations(answers, seed)
    (partial / "data").mkdir(exist_ok=True)
    table = pa.table({"messages": [talk.messages for talk in talks], "learned": [talk.learned for talk in talks]})
    pq.write_table(table, partial / "data" / "train-00000.parquet")
    (partial / "README.md").write_text(_card(task, identity, talks), encoding="utf-8")
    finished(partial, out)
    return len(talks)


def _card(task: Task, identity: Identity, talks: list[Conversation]) -> str:
    given = sum(len(talk.learned) for talk in talks)
    learned = sum(sum(talk.learned) for talk in talks)
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---
# Expert episodes of the {task.name} task on {identity.data_name}

Written by tradeschool {identity.package}, task {task.name} {task.version}, data {identity.data_hash}.
{len(talks):,} conversations with {given:,} answers, of which {learned:,} are to be learned.

- `messages`: the rules (system), then a day (user) and the answer to it (assistant), and so on.
- `learned`: for each answer, whether it should bear loss. As many BUY, SELL and HOLD are, and no more that both buy and
  sell; imitated as they come, HOLD would drown the others. Answers without `<think>` are detours that the expert is
  seen to leave, never learned.
"""
