"""The script's reading: the CSV, its digest, and what is fitted to what."""

from service.reproduction.recipe import Recipe
from service.reproduction.wording import assigned, indented, joined, literal
from service.tables.canonical import block_rows

_MOST_NAMES_SHOWN = 20


def constants(recipe: Recipe) -> list[str]:
    """The digest, and the columns of texts."""
    lines = [f"DIGEST = {literal(recipe.digest)}"]
    return (
        [*lines, *assigned("TEXT_COLUMNS", recipe.categories, recipe.data_lines)]
        if recipe.categories
        else lines
    )


def read_table(recipe: Recipe) -> list[str]:
    """A function that reads the CSV."""
    numbers = 'kind, cells = "number", np.array(cells, dtype="<f8")'
    by_kind = [numbers, "content = cells.tobytes()"]
    if recipe.categories:
        by_kind = [
            "if name in TEXT_COLUMNS:",
            '    kind, cells = "category", [cell.strip() for cell in cells]',
            *indented(_texts(recipe)),
            "    cells = np.array(cells, dtype=object)",
            "else:",
            *indented(by_kind),
        ]
    return [
        "def read_table(path):",
        '    """The CSV\'s columns by name, and the digest of their names, kinds and contents."""',
        '    as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode',
        '    with open(path, newline="", encoding="utf-8-sig") as file:',
        "        names, *rows = filter(None, csv.reader(file))",
        "    table, columns = {}, []",
        "    for name, cells in zip(names, zip(*rows, strict=True), strict=True):",
        *indented(indented(by_kind)),
        "        columns.append([name, kind, hashlib.sha256(content).hexdigest()])",
        "        table[name] = cells",
        '    head = as_json({"n_rows": len(rows), "columns": columns})',
        '    return table, "sha256:" + hashlib.sha256(head.encode()).hexdigest()',
    ]


def _texts(recipe: Recipe) -> list[str]:
    """What of a column of texts is digested."""
    most = block_rows([column["type"] for column in recipe.columns])
    if recipe.n_rows <= most:
        return ['content = as_json(cells).encode() + b"\\n"']
    return [
        f"blocks = [cells[i : i + {most}] for i in range(0, len(cells), {most})]",
        'content = "".join(as_json(block) + "\\n" for block in blocks).encode()',
    ]


def reading() -> list[str]:
    """The table is read; another one is refused."""
    return [
        "try:",
        "    table, digest = read_table(sys.argv[1])",
        "except (IndexError, OSError, ValueError, csv.Error) as error:",
        '    sys.exit(f"usage: python reproduce.py dataset.csv, the dataset\'s own CSV ({error})")',
        "if digest != DIGEST:",
        '    sys.exit(f"{sys.argv[1]} is another table than the fit\'s: its digest is {digest}")',
    ]


def features(recipe: Recipe) -> list[str]:
    """`x`, (n, d) float64."""
    names = _names(recipe)
    model = recipe.spec["model"]
    expanded = model["kind"] == "polynomial" and model["degree"] > 1
    if not recipe.has_category_features:
        made = ["x = np.column_stack([table[name] for name in features])"]
    else:
        made = [
            "# A category becomes an indicator (1 or 0) for each of its texts, sorted.",
            "made, origin = [], []" if expanded else "made = []",
            "for name in features:",
            "    texts = sorted(set(table[name])) if name in TEXT_COLUMNS else []",
            "    made += [table[name] == text for text in texts] or [table[name]]",
            *(["    origin += [name] * (len(made) - len(origin))"] if expanded else []),
            "x = np.column_stack(made).astype(np.float64)",
        ]
    return [*names, *made, *(_terms(recipe) if expanded else [])]


def _names(recipe: Recipe) -> list[str]:
    names = list(recipe.spec["features"])
    weight = recipe.spec["sample_weight"]
    taken = [*recipe.targets, *([] if weight is None else [weight])]
    others = [column["name"] for column in recipe.columns if column["name"] not in taken]
    if len(names) > _MOST_NAMES_SHOWN and names == others:
        return [f"features = [name for name in table if name not in {literal(taken)}]"]
    return assigned("features", names, recipe.data_lines)


def _terms(recipe: Recipe) -> list[str]:
    """`x` becomes a polynomial's terms, each as the engine multiplies them."""
    model = recipe.spec["model"]
    loop = f"for _ in range({model['degree'] - 1}):"
    sources = recipe.has_category_features
    if model["interactions"]:
        about = [
            "# The products of one degree more: each one's last factor is followed by itself or",
            "# a later feature." + (" No indicator follows one of its own column." * sources),
        ]
        loops = ["for i, term in terms", "for j in range(i, x.shape[1])"]
        loops += ["if origin[i] != origin[j] or origin[j] not in TEXT_COLUMNS"] * sources
        made = ["(j, term * x[:, j])", *loops]
    else:
        about = ["# The powers of one degree more." + (" An indicator's are itself." * sources)]
        made = ["(i, term * x[:, i])", "for i, term in terms"]
        made += ["if origin[i] not in TEXT_COLUMNS"] * sources
    return [
        "terms = list(enumerate(x.T))",
        "columns = [term for _, term in terms]",
        loop,
        *(f"    {line}" for line in about),
        "    terms = [",
        *(f"        {line}" for line in made),
        "    ]",
        "    columns += [term for _, term in terms]",
        "x = np.column_stack(columns)",
    ]


def targets(recipe: Recipe) -> list[str]:
    """`y`, (n,) places of classes or (n, k) numbers."""
    names = recipe.targets
    if recipe.of_classes:
        lines = [
            "# Classes are numbered from 0 on, in sorted order.",
            f"classes, y = np.unique(table[{literal(names[0])}], return_inverse=True)",
        ]
    elif len(names) == 1:
        lines = [f"y = table[{literal(names[0])}].reshape(-1, 1)"]
    else:
        lines = [*assigned("targets", names, recipe.data_lines),
                 "y = np.column_stack([table[name] for name in targets])"]  # fmt: skip
    return lines


def rows_in_order() -> list[str]:
    """A function that permutes the rows."""
    return [
        "def rows_in_order(n_rows, seed, epoch):",
        '    """An epoch\'s order of the rows: a permutation drawn by a generator of its own."""',
        "    generator = torch.Generator().manual_seed((2654435761 * seed + epoch) % 2**32)",
        "    return torch.randperm(n_rows, generator=generator)",
    ]


def held_out(recipe: Recipe) -> list[str]:
    """`held_out`, (n,): whether a row is kept for validation."""
    validation = recipe.spec["validation"]
    if validation is None:
        return []
    fraction = literal(validation["fraction"])
    seed = recipe.seed("split")
    lines = [
        f"order = rows_in_order(len(x), seed={seed}, epoch=0).numpy()",
        "held_out = np.zeros(len(x), dtype=bool)",
    ]
    if not recipe.stratified:
        about = "# Held out for validation are the first rows of an order drawn for it."
        return [about, *lines, f"held_out[order[: math.ceil({fraction} * len(x))]] = True"]
    return [
        "# Held out for validation are the first rows of each class, in an order drawn for it.",
        *lines,
        "for label in np.unique(y):",
        "    rows = order[y[order] == label]",
        f"    held_out[rows[: math.ceil({fraction} * len(rows))]] = True",
    ]


def standardized(recipe: Recipe) -> list[str]:
    """`x` is brought to mean 0 and variance 1."""
    if not recipe.spec["standardize"]:
        return []
    rows = "x" if recipe.spec["validation"] is None else "x[~held_out]"
    return [
        "# To mean 0 and variance 1 of the training rows; the weights are of these features.",
        f"x = (x - {rows}.mean(axis=0)) / {rows}.std(axis=0)",
    ]


def tensors(recipe: Recipe) -> list[str]:
    """The arrays become tensors, the held-out rows apart."""
    y = "torch.tensor(y)" if recipe.scored else "torch.tensor(y, dtype=dtype)"
    if recipe.of_classes and not recipe.scored:
        y = "torch.tensor(y.reshape(-1, 1), dtype=dtype)"
    lines = ["x = torch.tensor(x, dtype=dtype)", f"y = {y}"]
    names = recipe.arrays
    if "weight" in names:
        cells = f"table[{literal(recipe.spec['sample_weight'])}]"
        lines.append(f"weight = torch.tensor({cells}, dtype=dtype)")
    if recipe.spec["validation"] is None:
        return lines
    if recipe.needs_validation_loss:
        lines.append(f"{joined(names, before='held_')} = {joined(names, '[held_out]')}")
    return [*lines, f"{joined(names)} = {joined(names, '[~held_out]')}"]
