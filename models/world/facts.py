"""Which entities does an invented world have, and what is true of each of them?

Everything follows from one seed. Names of known, one-off and unknown entities come from one generator, and every name is used
once, so that nothing in a name tells whether the world knows it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.errors import UserError
from models.words import _
from models.world import lexicon

# Questions about "listed" entities are in pretraining text; about "taught" ones in the instructions; about "rewarded" ones in the
# prompts of RLHF; about "dev" and "test" ones nowhere before they are judged. Articles are written about all five.
GROUPS = ("listed", "taught", "rewarded", "dev", "test")


@dataclass(frozen=True)
class Entity:
    """One invented thing: its name, the index of its kind, and the index of its value for each relation that it has."""

    name: str
    kind: int
    group: str
    facts: tuple[tuple[str, int], ...]

    def value(self, relation: str) -> int | None:
        """Return the index of the value of `relation`, or None where this kind of thing has no such relation."""
        return dict(self.facts).get(relation)


@dataclass(frozen=True)
class World:
    """The entities of one seed, and a source of further names."""

    seed: int
    entities: tuple[Entity, ...]
    names_used: frozenset[str] = field(repr=False)

    def group(self, name: str) -> tuple[Entity, ...]:
        """Return the entities of one group, one of GROUPS."""
        return tuple(entity for entity in self.entities if entity.group == name)


def names(generator: random.Random, used: set[str]) -> Iterator[str]:
    """Yield names that were never used before, until nine in ten are used; each is added to `used`."""
    while len(used) < 0.9 * len(lexicon.FIRST) * len(lexicon.LAST):
        name = f"{generator.choice(lexicon.FIRST)} {generator.choice(lexicon.LAST)}"
        if name not in used:
            used.add(name)
            yield name
    raise UserError(
        "world-names", _("The world has run out of names."), _("Ask for fewer documents about things mentioned once.")
    )


def relations_of(kind: int) -> tuple[str, ...]:
    """Return the six relations that things of this kind have: the others make a false premise."""
    n_relations = len(lexicon.RELATIONS)
    missing = {(kind + step) % n_relations for step in (0, 3, 6)}
    return tuple(name for index, name in enumerate(lexicon.RELATIONS) if index not in missing)


def invent(generator: random.Random, name: str, group: str, kind: int | None = None) -> Entity:
    """Make up an entity: a kind and one value for each relation of that kind, all drawn uniformly."""
    kind = generator.randrange(len(lexicon.KINDS)) if kind is None else kind
    facts = tuple((relation, generator.randrange(len(lexicon.VALUES[relation]))) for relation in relations_of(kind))
    return Entity(name, kind, group, facts)


def build_world(seed: int, sizes: dict[str, int]) -> World:
    """Invent the known entities: `sizes` says how many of each group.

    Raises:
        UserError: a group is unknown, or a size is not a positive number.
    """
    for group, size in sizes.items():
        if group not in GROUPS or size < 1:
            raise UserError(
                "world-group",
                _("The world cannot have {size} entities of the group {group!r}.").format(size=size, group=group),
                _("Give each of {names} a number of at least 1 in the recipe's world step.").format(names=", ".join(GROUPS)),
            )
    generator = random.Random(f"world {seed}")
    used: set[str] = set()
    fresh = names(generator, used)
    order = [group for group in GROUPS for _ in range(sizes.get(group, 0))]
    n_kinds = len(lexicon.KINDS)
    entities = tuple(invent(generator, next(fresh), group, index % n_kinds) for index, group in enumerate(order))
    return World(seed, entities, frozenset(used))
