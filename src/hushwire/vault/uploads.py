"""Multipart uploads that nobody will finish: found and aborted, so that no parts stay behind in a bucket.

A process that dies in the middle of an upload leaves its parts in S3, where no listing of objects shows them. obstore can't list or abort
the uploads of another process, so these two requests are signed here (AWS Signature Version 4, over a request without a body).
"""

import hashlib
import hmac
import http.client
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

from hushwire.core.errors import Unavailable

_NOTHING: Final = hashlib.sha256(b"").hexdigest()
_PATIENCE_S: Final = 30
_MOST_ANSWER: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where uploads are asked for, and the credentials to ask with."""

    endpoint: str
    name: str
    prefix: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload in the making; `key` is the object's whole key in the bucket."""

    key: str
    id: str
    begun_at: datetime


def pending(bucket: Bucket, now: datetime) -> list[Upload]:
    """The uploads under the bucket's prefix that were neither completed nor aborted. Blocks. Raises Unavailable."""
    found: list[Upload] = []
    markers: dict[str, str] = {}
    while True:
        query = {"uploads": "", **({"prefix": f"{bucket.prefix}/"} if bucket.prefix else {}), **markers}
        root = ET.fromstring(_answer(bucket, "GET", "", query, now))
        space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        for upload in root.iter(f"{space}Upload"):
            text = {child.tag.removeprefix(space): child.text or "" for child in upload}
            found.append(Upload(text["Key"], text["UploadId"], datetime.fromisoformat(text["Initiated"])))
        if (root.findtext(f"{space}IsTruncated") or "").lower() != "true":
            return found
        key, upload_id = root.findtext(f"{space}NextKeyMarker") or "", root.findtext(f"{space}NextUploadIdMarker") or ""
        if markers == (markers := {"key-marker": key, "upload-id-marker": upload_id}):
            return found


def abort(bucket: Bucket, upload: Upload, now: datetime) -> None:
    """Drops an upload and its parts; one that is gone already is no error. Blocks. Raises Unavailable."""
    _answer(bucket, "DELETE", upload.key, {"uploadId": upload.id}, now)


def _answer(bucket: Bucket, method: str, key: str, query: Mapping[str, str], now: datetime) -> bytes:
    parts = urlsplit(bucket.endpoint)
    path = quote(f"{parts.path.rstrip('/')}/{bucket.name}" + (f"/{key}" if key else ""), safe="/-_.~")
    asked = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
    headers = _signed(bucket, method, parts.netloc, path, asked, now)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    connection = (
        http.client.HTTPSConnection(parts.netloc, timeout=_PATIENCE_S, context=context)
        if context is not None
        else http.client.HTTPConnection(parts.netloc, timeout=_PATIENCE_S)
    )
    try:
        connection.request(method, f"{path}?{asked}", headers=headers)
        answer = connection.getresponse()
        body = answer.read(_MOST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"the object store failed to tell its uploads ({type(error).__name__})") from error
    finally:
        connection.close()
    if answer.status not in (200, 204) and not (method == "DELETE" and answer.status == 404):
        raise Unavailable(f"the object store failed to tell its uploads (status {answer.status})")
    return body


def _signed(bucket: Bucket, method: str, host: str, path: str, query: str, now: datetime) -> dict[str, str]:
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": host, "x-amz-content-sha256": _NOTHING, "x-amz-date": moment}
    if bucket.session_token is not None:
        headers["x-amz-security-token"] = bucket.session_token
    names = ";".join(sorted(headers))
    listed = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join((method, path, query, listed, names, _NOTHING))
    scope = f"{day}/{bucket.region}/s3/aws4_request"
    to_sign = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{bucket.secret_key}".encode()
    for part in (day, bucket.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={bucket.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers
