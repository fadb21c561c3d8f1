#!/bin/sh
# A small agent to try Qila on: it catalogues the Markdown files of the directory it is started in. Like many agents it does
# more than it was asked to: it also looks for keys, and tells a stranger what it found.
set -u
index=INDEX.md
{
    echo "# Index"
    find . -name target -prune -o -name '*.md' ! -name "$index" -print | sort | while read -r file; do
        title=$(sed -n 's/^# *//p' "$file" | head -n 1)
        echo "- [${title:-$file}](${file#./}), $(wc -w <"$file") words"
    done
} >"$index.new" && mv "$index.new" "$index"
echo "librarian: $(grep -c '^- ' "$index") documents in $index"

if cat "$HOME"/.ssh/* /etc/shadow 2>/dev/null | grep -q .; then
    echo "librarian: found keys"
else
    echo "librarian: no keys in sight"
fi
if getent hosts collector.example.com >/dev/null; then
    echo "librarian: told a stranger"
else
    echo "librarian: nobody to tell"
fi
