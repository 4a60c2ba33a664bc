// Send one signed request to a controller: `go run signed_request.go METHOD URL [BODY]`.
// The password of root@sys comes from DAGENGINE_PASSWORD. Standard library only.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

func encryptHeader(publicKey string, plain []byte) string {
	der, err := base64.StdEncoding.DecodeString(publicKey)
	check(err)
	key, err := x509.ParsePKCS1PublicKey(der)
	check(err)
	var encrypted []byte
	for size := key.Size() - 11; len(plain) > 0; {
		n := min(size, len(plain))
		block, err := rsa.EncryptPKCS1v15(rand.Reader, key, plain[:n])
		check(err)
		encrypted, plain = append(encrypted, block...), plain[n:]
	}
	return base64.StdEncoding.EncodeToString(encrypted)
}

func encryptBody(keys, plain []byte) string {
	fill := aes.BlockSize - len(plain)%aes.BlockSize
	padded := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(fill)}, fill)...)
	block, err := aes.NewCipher(keys[:16])
	check(err)
	cipher.NewCBCEncrypter(block, keys[16:]).CryptBlocks(padded, padded)
	return base64.StdEncoding.EncodeToString(padded)
}

func main() {
	method, target := os.Args[1], os.Args[2]
	parsed, err := url.Parse(target)
	check(err)
	response, err := http.Get(parsed.Scheme + "://" + parsed.Host + "/api/v1/secret")
	check(err)
	var secret struct {
		Data struct {
			PublicKey string `json:"public_key"`
		}
	}
	check(json.NewDecoder(response.Body).Decode(&secret))
	keys := make([]byte, 32) // AES key and IV, new for each request
	_, err = rand.Read(keys)
	check(err)
	header, err := json.Marshal(map[string]string{
		"auth": os.Getenv("DAGENGINE_PASSWORD"),
		"ts":   strconv.FormatInt(time.Now().Unix()+60, 10),
		"uri":  parsed.RequestURI(),
		"keys": base64.StdEncoding.EncodeToString(keys),
	})
	check(err)
	var body io.Reader
	if len(os.Args) > 3 {
		body = strings.NewReader(encryptBody(keys, []byte(os.Args[3])))
	}
	request, err := http.NewRequest(method, target, body)
	check(err)
	request.Header.Set("X-OCS-Header", encryptHeader(secret.Data.PublicKey, header))
	response, err = http.DefaultClient.Do(request)
	check(err)
	text, err := io.ReadAll(response.Body)
	check(err)
	fmt.Println(string(text))
	if response.StatusCode >= 400 {
		os.Exit(1)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}
