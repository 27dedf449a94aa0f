# Certificates of the tests: `bash make.sh` writes ca.pem, server.pem, expired.pem and server.key, and throws the authority's key away.
set -e
work=$(mktemp -d)
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
key "$work/ca.key"
key server.key
cat > "$work/conf" <<'CONF'
[ca]
default_ca = own
[own]
database = $ENV::work/index
serial = $ENV::work/serial
new_certs_dir = $ENV::work
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost,DNS:zenodo.example,DNS:hub.example
CONF
: > "$work/index"
echo 01 > "$work/serial"
export work
request() { openssl req -new -key "$1" -subj "/CN=$2" -out "$work/request"; }
sign() { openssl ca -batch -notext -config "$work/conf" -in "$work/request" -startdate "$1" -enddate "$2" -out "$3" -extensions "$4" "${@:5}"; }
request "$work/ca.key" "scgraft tests"
sign 20200101000000Z 21200101000000Z ca.pem authority -selfsign -keyfile "$work/ca.key"
request server.key localhost
for of in "server 21200101000000Z" "expired 20200201000000Z"; do
  set -- $of
  sign 20200101000000Z "$2" "$1.pem" server -cert ca.pem -keyfile "$work/ca.key"
done
rm -r "$work"
