"""What broke other servers, over TLS: the tests of those tables, whose clients come by wss:."""
import test_bad_input
import test_deflate
import test_frames
import test_handshake
from certificates import certificate, trust
from harness import Server


class OverTls:
    """In front of the class of a test."""

    @classmethod
    def setUpClass(cls):
        files = certificate('localhost', 'localhost')
        cls.server = Server(tls_listen='127.0.0.1:0', tls_cert=files[0], tls_key=files[1],
                            **cls.settings)
        cls.server.trust = trust(files[0])


class Handshake(OverTls, test_handshake.Handshake):
    def more_statuses(self, data):
        # It may come with the last flight of the TLS handshake, behind which nobody says so much.
        return {0} if len(data) > 50_000 else set()


class SlowHandshake(OverTls, test_handshake.SlowHandshake):
    pass


class Frames(OverTls, test_frames.Frames):
    pass


class Messages(OverTls, test_bad_input.TwoShards):
    pass


class Negotiation(OverTls, test_deflate.Negotiation):
    pass


class Inbound(OverTls, test_deflate.Inbound):
    test_npm_ws_echoes = None  # it knows no certificate of ours
