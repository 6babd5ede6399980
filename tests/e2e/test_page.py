"""The demo page: its files as the server gives them, and the page itself in headless Chromium."""
import asyncio
import json
import os
import unittest
import urllib.error
import urllib.request

from harness import CHROMIUM, PATIENCE_S, ROOT, Server, Test, browser

FILES = {
    '/': ('text/html', 'index.html'),
    '/app.js': ('text/javascript', 'app.js'),
    '/ringcast.js': ('text/javascript', os.environ['RINGCAST_CLIENT']),
    '/charts.js': ('text/javascript', 'charts.js'),
    '/figures.js': ('text/javascript', 'figures.js'),
    '/outage.js': ('text/javascript', 'outage.js'),
    '/prices.js': ('text/javascript', 'prices.js'),
    '/recovery.js': ('text/javascript', 'recovery.js'),
    '/style.css': ('text/css', 'style.css'),
    '/favicon.svg': ('image/svg+xml', 'favicon.svg'),
    '/uplot.js': ('text/javascript', 'node_modules/uplot/dist/uPlot.iife.min.js'),
    '/uplot.css': ('text/css', 'node_modules/uplot/dist/uPlot.min.css'),
}


class Page(Test):
    def get(self, path, headers=None):
        url = f'http://127.0.0.1:{self.server.port}{path}'
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}),
                                      timeout=PATIENCE_S)

    def test_each_file_has_its_type_and_its_bytes(self):
        for path, (content_type, name) in FILES.items():
            with self.subTest(path), self.get(path) as answer:
                self.assertTrue(answer.headers['content-type'].startswith(content_type))
                self.assertEqual(answer.read(), (ROOT / 'web' / name).read_bytes())

    def test_a_file_that_one_has_is_not_sent_again(self):
        for path in FILES:
            with self.subTest(path):
                with self.get(path) as answer:
                    etag = answer.headers['etag']
                    self.assertNotIn('unsafe', answer.headers['content-security-policy'])
                with self.assertRaises(urllib.error.HTTPError) as unchanged:
                    self.get(path, {'If-None-Match': etag})
                self.assertEqual(unchanged.exception.code, 304)
                self.assertEqual(unchanged.exception.headers['etag'], etag)
                self.assertEqual(unchanged.exception.read(), b'')
                unchanged.exception.close()

    def test_there_is_nothing_else(self):
        for path in ['/index.htm', '/../etc/passwd', '/web/app.js', '//']:
            with self.subTest(path), self.assertRaises(urllib.error.HTTPError) as refused:
                self.get(path)
            self.assertIn(refused.exception.code, {400, 404})
            refused.exception.close()

    @unittest.skipUnless(os.path.exists(CHROMIUM), f'no {CHROMIUM}')
    async def test_a_browser_sees_the_host_talks_loses_its_connection_and_notices_the_end(self):
        with Server() as server:  # its own: this test ends it
            receiver = await self.join(server=server)
            await receiver.subscribe('chat')
            async with browser('page.mjs', f'http://127.0.0.1:{server.port}/') as page:
                async def expect(step):
                    line = await asyncio.wait_for(page.stdout.readline(), 120)
                    self.assertEqual(json.loads(line or '{}').get('step'), step, line)

                await expect('connected')
                await expect('charts')
                await expect('published')
                update = await receiver.expect('data_update', topic='chat')
                self.assertEqual(update['payload'], {'text': 'hello <b>everyone</b>'})
                await expect('shown')
                await expect('prices')
                await expect('rates')
                await expect('recovered')
                await expect('away')
                await receiver.publish('chat', 'nobody keeps this')
                await expect('recovered again')
                await expect('stranger refused')
                server.terminate()
                await expect('disconnected')
                await expect('no errors')
                self.assertEqual(await asyncio.wait_for(page.wait(), PATIENCE_S), 0)
