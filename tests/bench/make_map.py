#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints a map of COUNT entries, of the kinds that real maps mix: make_map.py 1000000 >big.map"""
import sys

HASH = "{yescrypt}$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC"


def entry(i):
    kind = i % 4
    if kind == 0:
        return f"user{i}@example{i % 977}.org use=isp login=u{i}"
    if kind == 1:
        return (f"user{i}@example{i % 977}.org use=stored login=u{i} local={HASH}\n"
                f"    password_file=/etc/popgate/secrets/{i}")
    if kind == 2:
        return f"box{i} upstream=maildir:/var/mail/%n/Maildir local={HASH}"
    return f"scanner{i} upstream=imaps://imap.isp{i % 31}.example/Scans allow=10.{i % 256}.0.0/16"


def main():
    count = int(sys.argv[1])
    out = sys.stdout
    out.write("%defaults delete=expunge seen=on-quit\n")
    out.write("%profile isp upstream=imaps://imap.isp.example\n")
    out.write("%profile stored upstream=imap+starttls://mail.example.net/INBOX\n")
    for i in range(count):
        out.write(entry(i))
        out.write("\n")


main()
