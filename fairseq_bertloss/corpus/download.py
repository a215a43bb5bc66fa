"""Archives from the network: only when asked for, resumed where a run was cut, and compared with a checksum.

bertloss extract de-en.tgz --download --corpus wit3 --source-lang de --target-lang en --destdir DIR
"""

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from fairseq_bertloss.files import check_readable_again, naming

CHUNK = 1 << 16
TIMEOUT = 30
PAGE = "https://wit3.fbk.eu/2014-01"
"""Where WIT3 links its archive, which Google Drive serves without a lasting address."""


@dataclass(frozen=True)
class Mirror:
    """An archive's address, and the md5 of what must lie there, in hexadecimal."""

    url: str
    md5: str


# The checksum is one that a public reproduction of fairseq's recipe expects of this address.
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
        mirrors: the pairs that can be had, and from where.

    Returns:
        Whether it was downloaded now.

    Raises:
        ValueError: no address is known for the pair; or as download.
    """
    mirror = mirrors.get((source_lang, target_lang))
    if mirror is None:
        raise ValueError(
            f"no address of {source_lang}-{target_lang} can be vouched for: fetch 2014-01.tgz by hand from {PAGE} "
            "and give its path, without --download"
        )
    return download(mirror, path)


def download(mirror: Mirror, path: str) -> bool:
    """Downloads a file, unless it is there. A run that is cut leaves PATH.partial, where the next one goes on.

    Args:
        mirror: address and checksum.
        path: where to keep the file.

    Returns:
        Whether it was downloaded now.

    Raises:
        ValueError: the network or the server fails, what it sends has another checksum, or something
            else bears the name.
    """
    if os.path.isdir(path):
        raise ValueError(f"{path} is a folder; name the file to download to, such as {os.path.join(path, 'de-en.tgz')}")
    if os.path.exists(path):
        check(path, mirror, f"delete {path}, or leave out --download to read it as it is")
        return False
    partial = f"{path}.partial"
    try:
        fetch(mirror.url, partial)
    # The errors of urllib are OSErrors, as are those of the disk, which name their file.
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "filename", None) == partial:
            raise
        raise ValueError(
            f"cannot download {mirror.url}: {str(error).strip('<>')}; run the same command again to go on where it "
            "stopped, or fetch the file by other means and give its path, without --download"
        ) from error
    try:
        check(
            partial,
            mirror,
            "run the same command again to start anew, "
            "or, where it stays so, fetch the file by other means and give its path, without --download",
        )
    except ValueError:
        os.unlink(partial)
        raise
    os.replace(partial, path)
    return True


def fetch(url: str, partial: str) -> None:
    """Appends to a partial file what it lacks, or writes it anew where the server cannot resume.

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
    """Asks for a file from a byte on."""
    headers = {"User-Agent": "fairseq-bertloss"} | ({"Range": f"bytes={start}-"} if start else {})
    asked = urllib.request.Request(url, headers=headers)
    return urllib.request.urlopen(asked, timeout=TIMEOUT)  # the addresses are ours, and files have checksums  # nosec B310


def first_byte(response: http.client.HTTPResponse) -> int | None:
    """Where the part begins that a server sends; None where it does not tell."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def receive(response: http.client.HTTPResponse, partial: str, start: int) -> None:
    """Writes a response's body from a byte of the file on, with a progress bar on a terminal.

    Raises:
        ConnectionError: fewer bytes came than the server announced.
    """
    from tqdm import tqdm

    announced = response.headers.get("Content-Length")
    total = start + int(announced) if announced else None
    received = start
    bar = tqdm(
        desc=os.path.basename(partial).removesuffix(".partial"),
        initial=start,
        total=total,
        unit="B",
        unit_scale=True,
        disable=None,
    )
    os.makedirs(os.path.dirname(os.path.abspath(partial)), exist_ok=True)
    with naming(partial), open(partial, "ab" if start else "wb") as file, bar:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
    if total is not None and received < total:
        raise ConnectionError(f"the connection was cut after {received} of {total} bytes")


def check(path: str, mirror: Mirror, remedy: str) -> None:
    """Compares a file's checksum with that of the mirror.

    Raises:
        ValueError: they differ.
    """
    check_readable_again(path)
    with open(path, "rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != mirror.md5:
        raise ValueError(f"{path} has the md5 {md5}, but {mirror.url} should have {mirror.md5}; {remedy}")
