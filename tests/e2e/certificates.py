"""Certificates that `openssl` makes for each run, and what trusts them."""
import ssl
import subprocess
import tempfile
from pathlib import Path

FOLDER = tempfile.TemporaryDirectory()


def certificate(name, *names):
    """(certificate, key): files with a new key for these host names."""
    files = [str(Path(FOLDER.name) / f'{name}.{kind}') for kind in ('crt', 'key')]
    subjects = ','.join(f'DNS:{one}' for one in names)
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
         '-nodes', '-out', files[0], '-keyout', files[1], '-days', '2', '-subj', f'/CN={name}',
         '-addext', f'subjectAltName={subjects}'], check=True, capture_output=True)
    return files


def trust(file, **versions):
    context = ssl.create_default_context(cafile=file)
    for name, value in versions.items():
        setattr(context, name, value)
    return context
