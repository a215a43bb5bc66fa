"""Downloads of archives: only on request, resumed after an interruption, verified by a checksum.

bertloss extract de-en.tgz --download --corpus wit3 --source-lang de --target-lang en --destdir DIR
"""

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fairseq_bertloss.files import check_readable_again, naming
from fairseq_bertloss.progress import progress

CHUNK = 1 << 16
TIMEOUT = 30
PAGE = "https://wit3.fbk.eu/2014-01"
"""Page that links WIT3's archive, which Google Drive serves without a lasting address."""

BY_OTHER_MEANS = "fetch the file by other means and give its path, without --download"


@dataclass(frozen=True)
class Mirror:
    """The address of an archive and the MD5 checksum that it must have, in hexadecimal."""

    url: str
    md5: str


# A public reproduction of fairseq's recipe expects this checksum at this address.
MIRRORS = {
    ("de", "en"): Mirror(
        "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz", "10936dfdf616504ddbd844e91b94ef4a"
    )
}


def download_pair(
    path: str, source_lang: str, target_lang: str, mirrors: Mapping[tuple[str, str], Mirror] = MIRRORS
) -> bool:
    """Downloads a language pair of WIT3, unless it is there.

    Args:
        path: where to keep the archive.
        source_lang, target_lang: the pair.
        mirrors: the pairs that can be downloaded, and from where.

    Returns:
        Whether it was downloaded now.

    Raises:
        ValueError: no address is known for the pair, or the download fails as download() says.
    """
    mirror = mirrors.get((source_lang, target_lang))
    if mirror is None:
        raise ValueError(
            f"no download address of {source_lang}-{target_lang} is known: fetch 2014-01.tgz by hand from {PAGE} "
            "and give its path, without --download"
        )
    return download(mirror, path)


def download(mirror: Mirror, path: str) -> bool:
    """Downloads a file, unless it is there. An interrupted run leaves PATH.partial, which the next one completes.

    Args:
        mirror: address and checksum.
        path: where to keep the file.

    Returns:
        Whether it was downloaded now.

    Raises:
        ValueError: the network or the server fails, the checksum differs, or the path holds something else.
    """
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; name the file to download to, such as {os.path.join(path, 'de-en.tgz')}")
    if os.path.exists(path):
        check(path, mirror, f"delete {path}, or leave out --download to read it as it is")
        return False
    partial = f"{path}.partial"
    with explained(mirror.url, partial):
        fetch(mirror.url, partial)
    try:
        check(partial, mirror, f"run the same command again to start anew; if the error persists, {BY_OTHER_MEANS}")
    except ValueError:
        os.unlink(partial)
        raise
    os.replace(partial, path)
    return True


@contextmanager
def explained(url: str, partial: str) -> Iterator[None]:
    """Says what to do in an error of the network or the server; errors of the disk stay as they are."""
    try:
        yield
    # The errors of urllib are OSErrors, as are those of the disk, which name their file.
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "filename", None) == partial:
            raise
        raise ValueError(
            f"cannot download {url}: {str(error).strip('<>')}; run the same command again to resume, or "
            f"{BY_OTHER_MEANS}"
        ) from error


def fetch(url: str, partial: str) -> None:
    """Appends to a partial file what it lacks, or writes it anew if the server cannot resume.

    Raises:
        OSError: the network or the server fails.
        http.client.HTTPException: the server breaks off.
    """
    start = os.path.getsize(partial) if os.path.exists(partial) else 0
    if start:
        try:
            with request(url, start) as response:
                if response.status == 206 and first_byte(response) == start:
                    receive(response, partial, start)
                    return
        except urllib.error.HTTPError as error:
            if error.code != 416:  # the partial file is no beginning of what lies there now
                raise
    with request(url, 0) as response:
        receive(response, partial, 0)


def request(url: str, start: int) -> http.client.HTTPResponse:
    """Requests a file from its byte number `start` on."""
    headers = {"User-Agent": "fairseq-bertloss"} | ({"Range": f"bytes={start}-"} if start else {})
    asked = urllib.request.Request(url, headers=headers)
    # The addresses are ours, and files have checksums.
    return urllib.request.urlopen(asked, timeout=TIMEOUT)  # nosec B310


def first_byte(response: http.client.HTTPResponse) -> int | None:
    """Number of the first byte that the server sends; None if it does not say."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def receive(response: http.client.HTTPResponse, partial: str, start: int) -> None:
    """Writes a response from byte number `start` of the file on, with a progress bar on a terminal.

    Raises:
        ConnectionError: fewer bytes came than the server announced.
    """
    announced = response.headers.get("Content-Length")
    total = start + int(announced) if announced else None
    received = start
    name = os.path.basename(partial).removesuffix(".partial")
    bar = progress(what=name, unit="B", total=total, initial=start, unit_scale=True)
    os.makedirs(os.path.dirname(os.path.abspath(partial)), exist_ok=True)
    with naming(partial), open(partial, "ab" if start else "wb") as file, bar:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
    if total is not None and received < total:
        raise ConnectionError(f"the connection was cut after {received} of {total} bytes")


def check(path: str, mirror: Mirror, remedy: str) -> None:
    """Compares the checksum of a file with that of the mirror.

    Raises:
        ValueError: they differ.
    """
    check_readable_again(path)
    with open(path, "rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != mirror.md5:
        raise ValueError(f"{path} has the MD5 checksum {md5}, but {mirror.url} should have {mirror.md5}; {remedy}")
