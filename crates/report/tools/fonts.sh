#!/bin/sh
# Cuts the two embedded fonts down to the characters the pictures use. Needs fonttools and brotli (PyPI) and, in the
# working directory, Inter_400Regular.ttf and Inter_600SemiBold.ttf (npm package @expo-google-fonts/inter 0.4.2).
set -eu
out="$(dirname "$0")/../assets/fonts"
chars="U+0020-007E,U+00A0-00FF,U+0100-0107,U+010C-010D,U+0111,U+0118-011B,U+0131,U+0141-0144,U+0150-0153,U+015A-015B"
chars="$chars,U+0160-0161,U+0178-017E,U+0391-03A9,U+03B1-03C9,U+2010-2015,U+2018-201A,U+201C-201E,U+2020-2022,U+2026"
chars="$chars,U+2030,U+2032-2033,U+2039-203A,U+2070,U+2074-207F,U+2080-2089,U+20AC,U+2190-2195,U+2202,U+2206,U+2211"
chars="$chars,U+2212,U+221A,U+221E,U+2248,U+2260,U+2264-2265,U+25B2,U+25BC,U+2713,U+FFFD"
for pair in 400Regular:regular 600SemiBold:semibold; do
  from="Inter_${pair%%:*}.ttf"
  to="$out/inter-${pair##*:}"
  pyftsubset "$from" --unicodes="$chars" --layout-features=kern --no-hinting --output-file="$to.ttf"
  pyftsubset "$from" --unicodes="$chars" --layout-features=kern,tnum --no-hinting --flavor=woff2 --output-file="$to.woff2"
done
