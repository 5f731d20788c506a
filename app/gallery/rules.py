"""What must be true of stored templates, whoever reads or writes them."""

from ml.errors import ModelError


def refuse_other_model(stored: str | None, used: str) -> None:
    """Embeddings of different models are never compared.

    Raises:
        ModelError: the stored templates are searched with another model than the one in use.
    """
    if stored not in (None, used):
        raise ModelError(
            f"the stored templates were made by {stored}, but the settings choose {used}: embeddings of "
            "different networks are never compared. Set ROLLCALL_BACKBONE and ROLLCALL_MIRRORED_EMBEDDING back, "
            "or start with an empty data directory."
        )
