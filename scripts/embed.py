#!/usr/bin/env python3
"""Turns files into one C++ source, so that the server carries its page inside.

    embed.py OUTPUT.cc URL=FILE...        e.g. embed.py assets.cc /=index.html /app.js=app.js

Defines `ringcast::node::assets()` of node/assets.h, in order of URL. Bodies are arrays of character
literals: a string literal of this length is refused by clang's pedantic warnings, and .incbin would
hide the bytes from link-time optimisation and from the build's dependency scan.
"""
import hashlib
import sys
from pathlib import Path

CONTENT_TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.svg': 'image/svg+xml',
    '.json': 'application/json',
}
HEAD = '''// Made by scripts/embed.py. Do not edit.

#include "node/assets.h"

namespace ringcast::node {
namespace {
'''


def array(name, body):
    literals = [f"'\\x{byte:02x}'" for byte in body]
    rows = [','.join(literals[i:i + 16]) for i in range(0, len(literals), 16)]
    return f'constexpr char {name}[] = {{\n' + ',\n'.join(rows) + '};\n'


def main(output, pairs):
    files = sorted(pair.split('=', 1) for pair in pairs)
    arrays, rows = [], []
    for index, (url, name) in enumerate(files):
        body = Path(name).read_bytes()
        if not body:
            sys.exit(f'embed.py: {name} is empty')
        content_type = CONTENT_TYPES[Path(name).suffix]
        etag = hashlib.sha256(body).hexdigest()[:16]
        arrays.append(array(f'body_{index}', body))
        rows.append(f'    Asset{{.path = "{url}",\n          .content_type = "{content_type}",\n'
                    f'          .body = {{body_{index}, sizeof body_{index}}},\n'
                    f'          .etag = "\\"{etag}\\""}},\n')
    Path(output).write_text(
        HEAD + '\n'.join(arrays) + '\nconstexpr Asset all[] = {\n' + ''.join(rows) + '};\n\n'
        '}  // namespace\n\n'
        'std::span<const Asset> assets() noexcept { return all; }\n\n'
        '}  // namespace ringcast::node\n')


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
