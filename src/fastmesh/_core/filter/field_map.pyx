# cython: embedsignature=False
"""What header fields do as a dictionary, by what else they do: wherever they lie.

Whose functions these are has `keys`, `get`, `fields`, `discard` and the item methods. They are put into compiled
classes one by one, as those have no base: what is made for each request comes from a list of what was freed. Help on
those classes shows the docstrings, so none says how it is called: it would be by the name of this class.
"""


class FieldMap:

    def copy(self):
        """A plain dictionary, names in lower case, that may be kept; fields that stand several times are joined
        with a comma."""
        made = {}
        for name, value in self.fields():
            name = name.lower()
            made[name] = f"{made[name]}, {value}" if name in made else value
        return made

    def values(self):
        """list[str]. The first value of each name."""
        return [self[name] for name in self.keys()]

    def items(self):
        """list[tuple[str, str]]. Each name with its first value."""
        return [(name, self[name]) for name in self.keys()]

    def setdefault(self, key, default=None, /):
        """The first value of the name, which is set to `default` when there is none."""
        found = self.get(key)
        if found is None:
            self[key] = default
            found = self[key]
        return found

    def pop(self, key, /, *default):
        """The first value of the name, all fields of which are taken away; `default` when there is none."""
        if len(default) > 1:
            raise TypeError("pop takes a key and at most one default")
        found = self.get(key)
        if found is None:
            if default:
                return default[0]
            raise KeyError(key)
        self.discard(key)
        return found

    def popitem(self):
        """The last name and its first value; all fields of it are taken away."""
        names = self.keys()
        if not names:
            raise KeyError("there are no headers")
        name = names.pop()
        return name, self.pop(name)

    def clear(self):
        """Take every field away but those that are the proxy's own."""
        for name in self.keys():
            try:
                self.discard(name)
            except ValueError:
                pass        # those that are the proxy's own stay

    def update(self, other=(), /, **more):
        """One field of each name that is given, in place of what there was. Raises HeaderError."""
        for name, value in (other.items() if hasattr(other, "items") else other):
            self[name] = value
        for name, value in more.items():
            self[name] = value


def fields_equal(headers, other, is_headers):
    """What `==` says of header fields and something else. `is_headers`: it is of their own class."""
    if is_headers:
        return headers.copy() == other.copy()
    if hasattr(other, "items"):
        return headers.copy() == {name.lower(): value for name, value in other.items()}
    return NotImplemented
