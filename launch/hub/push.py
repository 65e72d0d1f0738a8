"""Uploads a published folder to the hub; no access token is ever shown."""

import os
import re
from pathlib import Path

from recipes.errors import PipelineError

NOT_PUSHED = ["manifest.json", "identity.json", ".*"]


def push(out: Path, repo: str, private: bool) -> str:
    """Uploads the folder to the hub; gives its address there.

    Raises:
        PipelineError: one line; an access token never stands in it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        api = HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=out, commit_message="Upload model", ignore_patterns=NOT_PUSHED
        )
        return str(address)
    except (OSError, ValueError, HTTPError) as fault:
        why = without_token(f"{type(fault).__name__}: {in_one_line(fault)}")
        todo = f"{_advice(fault)}, then give the same command again"
        raise PipelineError(
            f"publish.repo {repo}: not pushed, {why}; the folder {out} is complete; {todo}"
        ) from None


def _advice(fault: Exception) -> str:
    """What mends it: a card that the hub refuses is no matter of rights."""
    status = getattr(getattr(fault, "response", None), "status_code", None)
    if status in (400, 422) or (isinstance(fault, ValueError) and "etadata" in str(fault)):
        return "change what it names (publish.license takes an identifier of the hub, such as mit)"
    if status is not None and (status == 429 or status >= 500):
        return "wait a while"
    return "log in with `hf auth login` or set HF_TOKEN to a token that may write there"


def without_token(text: str) -> str:
    """The text with this user's access token, and whatever looks like one, blotted out."""
    from huggingface_hub import get_token

    known = [token for token in (get_token(), os.environ.get("HF_TOKEN")) if token]
    for token in known:
        text = text.replace(token, "***")
    return re.sub(r"\bhf_[A-Za-z0-9]{8,}", "***", text)


def in_one_line(fault: BaseException) -> str:
    """What a library says of a fault, in one line, clipped."""
    return " ".join(str(fault).split())[:400] or "no reason given"
