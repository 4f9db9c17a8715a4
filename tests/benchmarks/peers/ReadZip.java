import java.io.BufferedInputStream;
import java.io.FileInputStream;
import java.io.InputStream;
import java.util.Collections;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Reads every byte of a ZIP by Java's two ways, which check sizes and CRCs as they go. */
class ReadZip {
    public static void main(String[] arguments) throws Exception {
        long byDirectory = 0;
        try (ZipFile archive = new ZipFile(arguments[0])) {
            for (ZipEntry entry : Collections.list(archive.entries())) {
                try (InputStream member = archive.getInputStream(entry)) {
                    byDirectory += length(member);
                }
            }
        }
        long byStream = 0;
        InputStream file = new BufferedInputStream(new FileInputStream(arguments[0]), 1 << 20);
        try (ZipInputStream archive = new ZipInputStream(file)) {
            while (archive.getNextEntry() != null) {
                byStream += length(archive);
            }
        }
        if (byDirectory != byStream) {
            throw new IllegalStateException(byDirectory + " and " + byStream + " bytes");
        }
    }

    private static long length(InputStream stream) throws Exception {
        byte[] buffer = new byte[1 << 16];
        long total = 0;
        for (int read; (read = stream.read(buffer)) >= 0; ) {
            total += read;
        }
        return total;
    }
}
