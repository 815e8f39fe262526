// Connection tokens, checked as every JavaScript peer checks them.

import { createHmac, timingSafeEqual } from "node:crypto";

/** The user of a valid HS256 token signed with `secret`, `undefined` for any other. */
export function userOf(token = "", secret) {
  const [header, claims, signature] = token.split(".");
  const expected = createHmac("sha256", secret).update(`${header}.${claims}`).digest();
  const given = Buffer.from(signature ?? "", "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const { sub, exp } = JSON.parse(Buffer.from(claims, "base64url").toString());
  return exp > Date.now() / 1000 ? sub : undefined;
}
