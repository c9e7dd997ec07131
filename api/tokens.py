"""Keys and tokens of our own: what `mesocycle token` and the tests mint. An identity provider does this in production."""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "mesocycle"
AUDIENCE = "mesocycle-api"

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


class KeyUnusable(ValueError):
    """This key can't sign or verify tokens: it must be EC P-256 (ES256), Ed25519 (EdDSA) or RSA of 2048 bits or more (RS256)."""


def generate_key_pair() -> tuple[str, str]:
    """A new ES256 key: (private key as PKCS 8 PEM, its public key as a JSON Web Key Set for MESOCYCLE_API_JWKS or a file)."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return pem, public_key_set(pem)


def public_key_set(*private_key_pems: str) -> str:
    """The JSON Web Key Set that verifies what these private keys sign."""
    return json.dumps({"keys": [public_jwk(_load_private(pem).public_key()) for pem in private_key_pems]}, indent=2)


def issue_token(
    private_key_pem: str,
    subject: str,
    scopes: Iterable[str] = ("user",),
    lifetime: timedelta | float = timedelta(hours=12),
    *,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    **claims: Any,
) -> str:
    """A signed token for `subject` (the user's id, or the service's name); lifetime in seconds or as a timedelta."""
    key = _load_private(private_key_pem)
    public = key.public_key()
    now = int(time.time())
    seconds = lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime
    payload = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "scope": " ".join(scopes),
        "iat": now,
        "nbf": now,
        "exp": int(now + seconds),
        "jti": str(uuid.uuid4()),
    } | claims
    return jwt.encode(payload, key, algorithm=algorithm_of(public), headers={"kid": thumbprint(public)})


def algorithm_of(key: PublicKey) -> str:
    """The one algorithm that a key is used with. It never comes from a token."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return "ES256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "EdDSA"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return "RS256"
    raise KeyUnusable(KeyUnusable.__doc__)


def public_jwk(key: PublicKey) -> dict[str, str]:
    algorithm = algorithm_of(key)
    encoder: Any = {"ES256": ECAlgorithm, "EdDSA": OKPAlgorithm, "RS256": RSAAlgorithm}[algorithm]
    members = {name: value for name, value in encoder.to_jwk(key, as_dict=True).items() if name in ("kty", "crv", "x", "y", "n", "e")}
    return members | {"kid": thumbprint(key), "alg": algorithm, "use": "sig"}


def thumbprint(key: PublicKey) -> str:
    """The key's id: RFC 7638, so that whoever holds the key knows its id."""
    encoder: Any = {"ES256": ECAlgorithm, "EdDSA": OKPAlgorithm, "RS256": RSAAlgorithm}[algorithm_of(key)]
    jwk = encoder.to_jwk(key, as_dict=True)
    required = {
        name: jwk[name]
        for name in sorted({"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}[jwk["kty"]])
    }
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":"), sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _load_private(pem: str) -> PrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise KeyUnusable(KeyUnusable.__doc__)
    return key
