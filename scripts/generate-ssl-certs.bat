@echo off
rem Makes a certificate that signs itself, for a host name or an address:
rem generate-ssl-certs.bat [HOST] [FOLDER]. Good for trying out and for inside;
rem browsers warn of it until it is trusted.
setlocal

set "HOST_NAME=%~1"
if not defined HOST_NAME set "HOST_NAME=localhost"
set "FOLDER=%~2"
if not defined FOLDER set "FOLDER=%~dp0..\deploy\nginx\certs"
set "DAYS=365"

echo(%HOST_NAME%| findstr /r /x /c:"[A-Za-z0-9.*:_-]*" >nul
if errorlevel 1 (
  echo generate-ssl-certs: this is no host name and no address 1>&2
  exit /b 2
)
where openssl >nul 2>nul
if errorlevel 1 (
  echo generate-ssl-certs: openssl not found: install it first 1>&2
  exit /b 1
)
for %%F in (server.crt server.key) do (
  if exist "%FOLDER%\%%F" (
    echo generate-ssl-certs: %FOLDER%\%%F is there already: remove it first 1>&2
    exit /b 1
  )
)

set "KIND=DNS"
echo(%HOST_NAME%| findstr /r /x /c:"[0-9][0-9.]*" >nul && set "KIND=IP"
echo(%HOST_NAME%| findstr /c:":" >nul && set "KIND=IP"

if not exist "%FOLDER%" mkdir "%FOLDER%"
set "CONFIG=%TEMP%\generate-ssl-certs-%RANDOM%.cnf"
(
  echo [req]
  echo prompt = no
  echo distinguished_name = name
  echo x509_extensions = extensions
  echo [name]
  echo commonName = %HOST_NAME%
  echo [extensions]
  echo subjectAltName = %KIND%:%HOST_NAME%
  echo basicConstraints = critical, CA:FALSE
  echo keyUsage = critical, digitalSignature
  echo extendedKeyUsage = serverAuth
  echo subjectKeyIdentifier = hash
) > "%CONFIG%"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days %DAYS% -keyout "%FOLDER%\server.key" -out "%FOLDER%\server.crt" -config "%CONFIG%" 2>nul
set "STATUS=%ERRORLEVEL%"
del "%CONFIG%"
if not "%STATUS%"=="0" (
  echo generate-ssl-certs: openssl failed 1>&2
  exit /b 1
)
echo For %HOST_NAME%, good for %DAYS% days: %FOLDER%\server.crt and %FOLDER%\server.key
