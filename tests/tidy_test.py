#!/usr/bin/env python3
"""Tests of scripts/tidy.py: plants each violation in a small clean tree and sees it reported."""
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SPEC = importlib.util.spec_from_file_location('tidy', os.path.join(HERE, '../scripts/tidy.py'))
tidy = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tidy)

HEADER = '#pragma once\n\n// What lives here.\n'
CLEAN = {
    'meson.build': "files('include/ringcast/error.h')\n",
    'include/ringcast/error.h': HEADER,
    'src/base/meson.build': "files('a.cc', 'a.h', 'b.h')\n",
    'src/base/a.h': HEADER + '#include "ringcast/error.h"\n',
    'src/base/a.cc': '#include "base/a.h"\n',
    'src/base/b.h': HEADER,
    'src/io/meson.build': "files('c.h')\n",
    'src/io/c.h': HEADER + '#include "base/a.h"\n',
    'src/feed/meson.build': "files('f.h')\n",
    'src/feed/f.h': HEADER,
    'src/node/meson.build': "files('n.h')\n",
    'src/node/n.h': HEADER + '#include "io/c.h"\n#include "feed/f.h"\n',
    'tests/base/meson.build': "files('a_test.cc')\n",
    'tests/base/a_test.cc': '#include "base/a.h"\n#include "node/n.h"\n',
    'bench/meson.build': "foreach what : ['a']\n",
    'bench/a_bench.cc': '#include "node/n.h"\n',
    'tools/meson.build': "files('t.cc')\n",
    'tools/t.cc': '#include "base/a.h"\n#include "io/c.h"\n#include "ringcast/error.h"\n',
    'web/app.js': 'go();\n',
    'scripts/s.py': 'pass\n',
}


def function(line_count, head='void f() {'):
    """A C++ function of so many lines."""
    return f'{head}\n' + '    g();\n' * (line_count - 2) + '}\n'


class TidyTest(unittest.TestCase):
    def problems(self, planted):
        """What tidy says about the clean tree with `planted` {path: text} put into it."""
        return tidy.check({**CLEAN, **planted})

    def expect(self, planted, *problems):
        self.assertEqual(self.problems(planted), list(problems))

    def expect_one(self, path, text, beginning):
        """`text` appended to `path` makes one problem, which begins so."""
        found = self.problems({path: CLEAN.get(path, '') + text})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(beginning), found)

    def test_a_clean_tree_has_no_problems(self):
        self.expect({})

    def test_as_a_program(self):
        script = os.path.join(HERE, '../scripts/tidy.py')
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**CLEAN, 'build/x.cc': 'throw;', '.git/y.cc': 'throw;'}.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), 'w', encoding='ascii') as file:
                    file.write(text)
            run = [sys.executable, script, root]
            clean = subprocess.run(run, capture_output=True, text=True, check=False)
            self.assertEqual((clean.returncode, clean.stdout.count('\n')), (0, 1), clean)
            with open(os.path.join(root, 'src/base/b.h'), 'ab') as file:
                file.write(b'// \xff\n')
            dirty = subprocess.run(run, capture_output=True, text=True, check=False)
            self.assertEqual((dirty.returncode, dirty.stdout), (1, 'src/base/b.h:4: not ASCII\n'))

    def test_floors(self):
        for path, include, line, what in (
                ('src/base/a.cc', 'io/c.h', 2, 'base may not include io'),
                ('src/io/c.h', 'feed/f.h', 5, 'io may not include feed'),
                ('src/feed/f.h', 'io/missing.h', 4, 'feed may not include io'),
                ('src/node/n.h', 'app/flags.h', 6, 'node may not include app'),
                ('tools/t.cc', 'feed/f.h', 4, 'tools may not include feed'),
                ('tools/t.cc', 'node/n.h', 4, 'tools may not include node'),
                ('include/ringcast/error.h', 'base/b.h', 4, 'include may not include base')):
            with self.subTest(path=path, include=include):
                self.expect({path: CLEAN[path] + f'#include "{include}"\n'},
                            f'{path}:{line}: {what} ({include})')

    def test_the_program_sees_only_the_public_door(self):
        app = {'src/app/meson.build': "files('main.cc')\n"}
        self.expect({**app, 'src/app/main.cc': '#include "ringcast/error.h"\n'})
        self.expect({**app, 'src/app/main.cc': '#include "base/a.h"\n'},
                    'src/app/main.cc:1: app may not include base (base/a.h)')

    def test_circles(self):
        self.expect({'src/base/a.h': HEADER + '#include "base/b.h"\n',
                     'src/base/b.h': HEADER + '#include "base/a.h"\n'},
                    'src/base/a.h:1: include circle: src/base/a.h -> src/base/b.h -> src/base/a.h')

    def test_file_length(self):
        for path in ('src/base/a.cc', 'web/app.js', 'scripts/s.py'):
            with self.subTest(path=path):
                self.expect({path: '\n' * 700})
                self.expect({path: '\n' * 701}, f'{path}:701: 701 lines; split it (700)')

    def test_a_script_is_what_its_first_line_says(self):
        function_of_71 = 'def f():\n' + '    pass\n' * 70
        self.expect({'scripts/s': '#!/usr/bin/python3\n' + function_of_71},
                    'scripts/s:2: a function of 71 lines (70)')
        self.expect({'scripts/s': '#!/bin/sh\n' + '\n' * 700},
                    'scripts/s:701: 701 lines; split it (700)')
        self.expect({'scripts/s': '#!/bin/sh\nx \n'}, 'scripts/s:2: trailing blank or tab')
        self.expect({'scripts/s': 'no script \n'})

    def test_lines(self):
        for text, what in (('x' * 101 + '\n', 'over 100 columns'),
                           ('x \n', 'trailing blank or tab'),
                           ('x;\ty;\n', 'trailing blank or tab'),
                           ('\u00e9\n', 'not ASCII'),
                           ('x', 'no newline at the end')):
            for path in ('src/base/a.cc', 'web/app.js', 'tests/base/a_test.cc'):
                with self.subTest(path=path, what=what):
                    line = CLEAN[path].count('\n') + 1
                    self.expect_one(path, text, f'{path}:{line}: {what}')
        self.expect({'web/app.js': '// https://example.org/' + 'x' * 100 + '\n'})

    def test_function_length_in_cpp(self):
        for head in ('void f() {', '[[nodiscard]] int C::f(int a,\n    int b) const noexcept {',
                     'C::C(int a) noexcept\n    : a_{a},\n      b_(a) {', 'TEST_CASE("x: y") {'):
            with self.subTest(head=head):
                extra = head.count('\n')
                self.expect({'src/base/a.cc': function(70 - extra, head)})
                self.expect({'src/base/a.cc': '\n' + function(71 - extra, head)},
                            'src/base/a.cc:2: a function of 71 lines (70)')

    def test_function_length_inside_a_class(self):
        body = ''.join('    ' + line + '\n' for line in function(71).split('\n')[:-1])
        self.expect({'src/base/a.cc': 'class C {\n  public:\n' + body + '};\n'},
                    'src/base/a.cc:3: a function of 71 lines (70)')

    def test_what_is_long_but_no_function(self):
        self.expect({'src/base/a.cc': function(90, 'namespace {').replace('g();', 'void g();')})
        self.expect({'src/base/a.cc': function(90, 'const char* text[] = {')[:-1] + ';\n'})
        self.expect({'src/base/a.cc': function(40) + '\n' + function(40)})
        self.expect({'src/base/a.cc': 'const char* text = R"(f() {\n' + 'x\n' * 90 + '}\n)";\n'})

    def test_function_length_in_python(self):
        self.expect({'scripts/s.py': 'def f():\n' + '    pass\n' * 70},
                    'scripts/s.py:1: a function of 71 lines (70)')

    def test_headers(self):
        for text in ('// What.\n#pragma once\n', '#pragma once\n\n#include <span>\n'):
            self.expect({'src/base/b.h': text}, 'src/base/b.h:1: a header starts with '
                        '#pragma once and a comment on what lives there')

    def test_a_source_without_a_test(self):
        self.expect({'src/base/meson.build': "files('a.cc', 'a.h', 'b.h', 'd.cc')\n",
                     'src/base/d.cc': '\n'}, 'src/base/d.cc:1: has no tests/base/d_test.cc')

    def test_named_exceptions_need_the_test_they_name(self):
        planted = {'src/io/meson.build': "files('c.h', 'epoll.cc')\n", 'src/io/epoll.cc': '\n'}
        self.expect(planted, 'src/io/epoll.cc:1: has no tests/io/contract_test.cc')
        self.expect({**planted, 'tests/io/contract_test.cc': '\n',
                     'tests/io/meson.build': "files('contract_test.cc')\n"})

    def test_what_is_not_built(self):
        for path in ('src/base/d.h', 'tests/base/d_test.cc', 'bench/d_bench.cc', 'tools/d.cc'):
            with self.subTest(path=path):
                self.expect({path: HEADER}, f'{path}:1: is in no meson.build')
        self.expect({'tests/base/helper.h': HEADER})

    def test_banned_words(self):
        for path, text in (
                ('src/base/a.cc', 'std::mutex m;'),
                ('src/base/a.cc', 'std::shared_ptr<int> p;'),
                ('src/base/a.cc', 'std::function<void()> f;'),
                ('src/base/a.cc', 'throw 1;'),
                ('src/base/a.cc', 'auto t = std::chrono::steady_clock::now();'),
                ('src/base/a.cc', '#include <iostream>'),
                ('src/base/a.cc', 'volatile int i;'),
                ('src/base/a.cc', 'int i = rand();'),
                ('tests/base/a_test.cc', 'std::mt19937 random;'),
                ('src/base/a.cc', 'assert(true);'),
                ('tools/t.cc', 'using namespace std;'),
                ('tests/base/a_test.cc', 'std::this_thread::sleep_for(x);'),
                ('tests/e2e.py', 'time.sleep(1)')):
            with self.subTest(text=text):
                line = CLEAN.get(path, '').count('\n') + 1
                self.expect_one(path, text + '\n', f'{path}:{line}: ')

    def test_what_only_looks_banned(self):
        self.expect({'src/base/a.cc': '// throw, std::mutex\nstatic_assert(true);\n'
                                      'const char* s = "throw";\n__asm__ volatile("");\n'})
        self.expect({'tests/base/a_test.cc': 'queue.prepare_sleep();\n'})
        self.expect({'tests/e2e.py': 'await asyncio.sleep(0)\n'})
        self.expect({'tests/support/wait.py': 'time.sleep(0.01)\n'})
        self.expect({'tools/t.cc': 'std::mutex m;\n'})

    def test_markers(self):
        for path in ('src/base/a.cc', 'web/app.js', 'README.md', 'src/base/meson.build'):
            comment = '//' if path.endswith(('.cc', '.js')) else '#'
            for text in ('TO' 'DO: later', 'FIX' 'ME', 'X' 'XX', 'HA' 'CK', 'see /wo' 'rk/x',
                         'see /ho' 'me/me'):
                with self.subTest(path=path, text=text):
                    line = CLEAN.get(path, '').count('\n') + 1
                    self.expect_one(path, f'{comment} {text}\n', f'{path}:{line}: ')
        self.expect({'README.md': 'mkstemp XXXXXX, src/work/x, https://a.org/home/b\n'})


if __name__ == '__main__':
    unittest.main()
