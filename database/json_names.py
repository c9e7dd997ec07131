"""How a column is called in JSON that the API serves."""


def camel(name: str) -> str:
    """`volume_kg` is `volumeKg` on the wire."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
