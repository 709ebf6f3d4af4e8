"""Which weights propose in an experiment."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache

from instancefcn.classifier.checkpoint import ProposalNetwork, identify
from instancefcn.config import to_table
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT, load_checkpoint
from instancefcn.inference.proposer import Proposer


@dataclass(frozen=True)
class IdentifiedProposer:
    """A proposer, and which network it has."""

    proposer: Proposer
    identity: ProposalNetwork

    @property
    def config_digest(self) -> str:
        """Digest of its inference config."""
        return hashlib.sha256(json.dumps(to_table(self.proposer.config)).encode()).hexdigest()[:8]


@cache
def shipped_weights() -> str:
    """Which weights the shipped checkpoint has, in words for a page."""
    checkpoint = load_checkpoint(SHIPPED_CHECKPOINT)
    identity = identify(checkpoint.build(), SHIPPED_CHECKPOINT)
    return (
        f"`{identity.name}`, fingerprint `{identity.fingerprint}`; by its own record its last training had "
        f"{checkpoint.training['iteration']:,} iterations"
    )
