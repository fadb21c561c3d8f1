"""Run by Qila in every new kernel: takes data out of figures and tables, and sets the environment of one cell."""


def _qila_start():
    import math
    import os

    most = 50_000  # points of a figure, or fields of a table, of which data is taken: more is for programs, in files
    saved = {}

    def environment(values):
        # Restores what the cell before had set for itself, then sets what this one wants.
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        saved.clear()
        for name, value in (values or {}).items():
            saved[name] = os.environ.get(name)
            os.environ[name] = value

    # Not among the names of cells, which `%reset` and `del` take away.
    get_ipython()._qila_environment = environment

    from IPython.core.formatters import BaseFormatter
    from traitlets import ObjectName, Unicode

    class Chart(BaseFormatter):
        format_type = Unicode("application/vnd.qila.chart+json")
        print_method = ObjectName("_repr_qila_chart_")
        _return_type = (dict,)

    class Data(BaseFormatter):
        format_type = Unicode("application/vnd.qila.data+json")
        print_method = ObjectName("_repr_qila_data_")
        _return_type = (dict,)

    def plain(value):
        if hasattr(value, "item"):
            value = value.item()
        if isinstance(value, float):
            return value if math.isfinite(value) else None  # JSON has no word for the others
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if hasattr(value, "isoformat"):
            return value.isoformat() if value == value else None
        return str(value)

    def split(label):
        # "Speed (km/h)" has a unit.
        label = label or ""
        if label.endswith(")") and "(" in label:
            name, unit = label[:-1].rsplit("(", 1)
            return name.strip(), unit.strip()
        return label, None

    def axis(axes, which):
        side = getattr(axes, which + "axis")
        label, unit = split(getattr(axes, "get_%slabel" % which)())
        return {
            which + "_label": label or None,
            which + "_unit": unit,
            which + "_ticks": [plain(t) for t in getattr(axes, "get_%sticks" % which)()],
            which + "_tick_labels": [t.get_text() for t in side.get_ticklabels()],
            which + "_scale": getattr(axes, "get_%sscale" % which)(),
        }

    def two(axes):
        both = axis(axes, "x")
        both.update(axis(axes, "y"))
        return both

    def points(xs, ys):
        return [[plain(x), plain(y)] for x, y in zip(xs, ys)]

    def one(axes):
        from matplotlib.collections import PathCollection
        from matplotlib.container import BarContainer
        from matplotlib.patches import Rectangle, Wedge

        title = axes.get_title()
        if axes.name != "rectilinear":
            return {"type": "unknown", "title": title, "elements": []}  # what is round or deep is not told by x and y
        wedges = [p for p in axes.patches if isinstance(p, Wedge)]
        if wedges:
            labels = [t.get_text() for t in axes.texts]
            step = max(1, len(labels) // len(wedges))
            return {
                "type": "pie",
                "title": title,
                "elements": [
                    {
                        "label": w.get_label() if not w.get_label().startswith("_") else (labels[i * step] if i * step < len(labels) else ""),
                        "angle": plain(abs(w.theta2 - w.theta1)),
                        "radius": plain(w.r),
                    }
                    for i, w in enumerate(wedges)
                ],
            }
        bars = [c for c in axes.containers if isinstance(c, BarContainer)]
        if bars:
            names = [t.get_text() for t in axes.get_xticklabels()]
            elements = []
            for group in bars:
                group_name = group.get_label()
                group_name = "" if group_name.startswith("_") else group_name
                rects = [r for r in group if isinstance(r, Rectangle)]
                flat = getattr(group, "orientation", "vertical") == "horizontal"
                own = [t.get_text() for t in axes.get_yticklabels()] if flat else names
                for i, r in enumerate(rects):
                    value = r.get_width() if flat else r.get_height()
                    label = own[i] if len(own) == len(rects) else plain(r.get_y() + r.get_height() / 2 if flat else r.get_x() + r.get_width() / 2)
                    elements.append({"label": str(label), "group": group_name, "value": plain(value)})
            ends = two(axes)
            return {
                "type": "bar",
                "title": title,
                "x_label": ends["x_label"],
                "x_unit": ends["x_unit"],
                "y_label": ends["y_label"],
                "y_unit": ends["y_unit"],
                "elements": elements,
            }
        boxes = getattr(axes, "_qila_boxes", None)
        if boxes:
            ends = two(axes)
            flat, boxes = boxes
            # Names that were given later, too.
            names = [t.get_text() for t in (axes.get_yticklabels() if flat else axes.get_xticklabels())]
            if len(names) == len(boxes) and all(names):
                boxes = [dict(box, label=name) for box, name in zip(boxes, names)]
            return {
                "type": "box_and_whisker",
                "title": title,
                "x_label": ends["x_label"],
                "x_unit": ends["x_unit"],
                "y_label": ends["y_label"],
                "y_unit": ends["y_unit"],
                "elements": boxes,
            }
        lines = [l for l in axes.get_lines() if len(l.get_xdata())]
        if lines:
            chart = two(axes)
            chart.update(
                type="line",
                title=title,
                elements=[
                    {"label": "" if l.get_label().startswith("_") else l.get_label(), "points": points(l.get_xdata(), l.get_ydata())}
                    for l in lines
                ],
            )
            return chart
        clouds = [c for c in axes.collections if isinstance(c, PathCollection)]
        if clouds:
            chart = two(axes)
            chart.update(
                type="scatter",
                title=title,
                elements=[
                    {
                        "label": "" if c.get_label().startswith("_") else c.get_label(),
                        "points": [[plain(x), plain(y)] for x, y in c.get_offsets()],
                    }
                    for c in clouds
                ],
            )
            return chart
        return {"type": "unknown", "title": title, "elements": []}

    def size(axes):
        from matplotlib.collections import PathCollection

        lines = sum(len(line.get_xdata(orig=False)) for line in axes.get_lines())
        clouds = sum(len(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection))
        return lines + clouds + len(axes.patches)

    def chart(figure):
        # A figure without data of a kind that is known has a picture all the same.
        try:
            if sum(map(size, figure.axes)) > most:
                return None
            charts = [one(axes) for axes in figure.axes]
        except Exception:
            return None
        if not charts:
            return None
        if len(charts) == 1:
            return charts[0]
        title = figure._suptitle.get_text() if getattr(figure, "_suptitle", None) else ""
        return {"type": "superchart", "title": title, "elements": charts}

    def data(frame):
        try:
            if frame.size > most or not frame.columns.is_unique:
                return None
            return {str(name): [plain(v) for v in column.tolist()] for name, column in frame.items()}
        except Exception:
            return None

    def boxplot(module):
        # What a box stands for is not in its drawing.
        axes_class = module.Axes
        drawn = axes_class.bxp

        def bxp(self, bxpstats, *args, **kwargs):
            stats = list(bxpstats)
            made = drawn(self, stats, *args, **kwargs)
            flat = kwargs.get("orientation") == "horizontal" or kwargs.get("vert") is False
            self._qila_boxes = flat, [
                {
                    "label": str(s.get("label", i + 1)),
                    "min": plain(s["whislo"]),
                    "first_quartile": plain(s["q1"]),
                    "median": plain(s["med"]),
                    "third_quartile": plain(s["q3"]),
                    "max": plain(s["whishi"]),
                    "outliers": [plain(v) for v in s.get("fliers", [])],
                }
                for i, s in enumerate(stats)
            ]
            return made

        axes_class.bxp = bxp

    def figure(module):
        # By a method: formatters that are registered for figures are removed when the inline backend begins.
        module.Figure._repr_qila_chart_ = chart

    formats = get_ipython().display_formatter
    for formatter in (Chart(parent=formats), Data(parent=formats)):
        formats.formatters[formatter.format_type] = formatter
        formats.active_types = formats.active_types + [formatter.format_type]
    for module in ("pandas", "pandas.core.frame"):  # as its class calls its home, which changed with version 3
        formats.formatters["application/vnd.qila.data+json"].for_type_by_name(module, "DataFrame", data)

    class Later:
        """Sees modules of matplotlib when they are first imported."""

        wanted = {"matplotlib.axes": boxplot, "matplotlib.figure": figure}

        def find_spec(self, name, path=None, target=None):
            patch = self.wanted.pop(name, None)
            if patch is None:
                return None
            import importlib.util

            spec = importlib.util.find_spec(name)
            if spec is None or spec.loader is None:
                return spec
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                try:
                    patch(module)
                except Exception:
                    pass  # figures are drawn all the same

            spec.loader.exec_module = exec_module
            return spec

    import sys

    sys.meta_path.insert(0, Later())


_qila_start()
del _qila_start
